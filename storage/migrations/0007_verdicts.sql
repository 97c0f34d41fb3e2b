-- The reports of nights, and what they say of each series.
CREATE TABLE nights (
    night VARCHAR PRIMARY KEY,
    began_at TIMESTAMP,
    finished_at TIMESTAMP,
    sweeps VARCHAR[] NOT NULL,
    counts JSON NOT NULL,
    file_sha256 VARCHAR NOT NULL
);
COMMENT ON TABLE nights IS 'one row per night that has its report';
COMMENT ON COLUMN nights.night IS 'ISO date';
COMMENT ON COLUMN nights.began_at IS 'UTC, the controller''s clock';
COMMENT ON COLUMN nights.finished_at IS 'UTC, the controller''s clock';
COMMENT ON COLUMN nights.sweeps IS 'ids of the sweeps that measured it';
COMMENT ON COLUMN nights.counts IS 'cells: ok, failed, known, waiting, skipped';
COMMENT ON COLUMN nights.file_sha256 IS 'of the report''s file';

CREATE TABLE verdicts (
    night VARCHAR NOT NULL,
    series VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    runtime VARCHAR NOT NULL,
    workload VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    old_value DOUBLE,
    old_low DOUBLE,
    old_high DOUBLE,
    new_value DOUBLE,
    new_low DOUBLE,
    new_high DOUBLE,
    ratio DOUBLE,
    p DOUBLE,
    first_bad VARCHAR NOT NULL,
    last_good VARCHAR NOT NULL,
    confirmed_by VARCHAR,
    confirmed_ratio DOUBLE,
    confirmed_low DOUBLE,
    confirmed_high DOUBLE,
    confirmed_p DOUBLE,
    confirmed_n INTEGER,
    changed JSON NOT NULL,
    suspect VARCHAR NOT NULL,
    reproduce VARCHAR NOT NULL,
    simulated BOOLEAN NOT NULL,
    PRIMARY KEY (night, series)
);
COMMENT ON TABLE verdicts IS 'one row per night and series of the watch list';
COMMENT ON COLUMN verdicts.night IS 'nights.night';
COMMENT ON COLUMN verdicts.series IS 'id: hash of device, model, variant, runtime, workload, metric';
COMMENT ON COLUMN verdicts.device IS 'name of the device profile';
COMMENT ON COLUMN verdicts.model IS 'cells.model';
COMMENT ON COLUMN verdicts.variant IS 'cells.variant';
COMMENT ON COLUMN verdicts.runtime IS 'cells.runtime';
COMMENT ON COLUMN verdicts.workload IS 'cells.workload';
COMMENT ON COLUMN verdicts.metric IS 'measurements.metric';
COMMENT ON COLUMN verdicts.kind IS 'regression, improvement, noise, not comparable, no data, unchanged, young';
COMMENT ON COLUMN verdicts.reason IS 'why, in words';
COMMENT ON COLUMN verdicts.unit IS 'of the levels';
COMMENT ON COLUMN verdicts.old_value IS 'in unit: median of the level before';
COMMENT ON COLUMN verdicts.old_low IS 'in unit: lower end of its 95 % interval; NULL below six values';
COMMENT ON COLUMN verdicts.old_high IS 'in unit: upper end of its 95 % interval; NULL below six values';
COMMENT ON COLUMN verdicts.new_value IS 'in unit: median of the level now';
COMMENT ON COLUMN verdicts.new_low IS 'in unit: lower end of its 95 % interval; NULL below six values';
COMMENT ON COLUMN verdicts.new_high IS 'in unit: upper end of its 95 % interval; NULL below six values';
COMMENT ON COLUMN verdicts.ratio IS 'new / old, by the nights; by the rerun where the series forked';
COMMENT ON COLUMN verdicts.p IS 'by the detector; by the rerun where the series forked';
COMMENT ON COLUMN verdicts.first_bad IS 'the first night of the new level, or without data';
COMMENT ON COLUMN verdicts.last_good IS 'the night before it';
COMMENT ON COLUMN verdicts.confirmed_by IS 'interleaved (old and new in turns), repeat (the new alone); NULL: not measured again';
COMMENT ON COLUMN verdicts.confirmed_ratio IS 'new / old by the rerun';
COMMENT ON COLUMN verdicts.confirmed_low IS 'lower end of its 95 % interval';
COMMENT ON COLUMN verdicts.confirmed_high IS 'upper end of its 95 % interval';
COMMENT ON COLUMN verdicts.confirmed_p IS 'by the rerun';
COMMENT ON COLUMN verdicts.confirmed_n IS 'pairs, or launches';
COMMENT ON COLUMN verdicts.changed IS 'what is recorded and differs: name -> [was, is]';
COMMENT ON COLUMN verdicts.suspect IS 'the same in words';
COMMENT ON COLUMN verdicts.reproduce IS 'the command that measures the new once more';
COMMENT ON COLUMN verdicts.simulated IS 'a fake device: never shown as measured';

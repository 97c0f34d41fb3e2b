-- What other tools said, marked as such: apart from everything that was measured here.
CREATE TABLE imports (
    source VARCHAR NOT NULL PRIMARY KEY,
    file VARCHAR NOT NULL,
    format VARCHAR NOT NULL,
    tool VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    device_said VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    imported_at TIMESTAMP,
    imported_by VARCHAR NOT NULL,
    about_sha256 VARCHAR NOT NULL
);
COMMENT ON TABLE imports IS 'one row per imported file';
COMMENT ON COLUMN imports.source IS 'sha256 of the file, which lies in imports/';
COMMENT ON COLUMN imports.file IS 'its name when it was imported';
COMMENT ON COLUMN imports.format IS 'name in the table of importers';
COMMENT ON COLUMN imports.tool IS 'what wrote it';
COMMENT ON COLUMN imports.version IS 'of the tool, as the file says; empty: it does not';
COMMENT ON COLUMN imports.device_said IS 'the devices that the file names, comma-separated';
COMMENT ON COLUMN imports.size IS 'bytes';
COMMENT ON COLUMN imports.imported_at IS 'UTC';
COMMENT ON COLUMN imports.imported_by IS 'login name of who imported it';
COMMENT ON COLUMN imports.about_sha256 IS 'of the file that says all this, beside the imported one';

CREATE TABLE imported (
    source VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    line INTEGER NOT NULL,
    device VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    runtime VARCHAR NOT NULL,
    build VARCHAR NOT NULL,
    workload VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    unit VARCHAR NOT NULL,
    statistic VARCHAR NOT NULL,
    n BIGINT,
    spread DOUBLE,
    spread_is VARCHAR NOT NULL,
    measured_at VARCHAR NOT NULL,
    extra JSON NOT NULL,
    PRIMARY KEY (source, position)
);
COMMENT ON TABLE imported IS 'one row per figure of an imported file: never a measurement of this farm';
COMMENT ON COLUMN imported.source IS 'imports.source';
COMMENT ON COLUMN imported.position IS '0, 1, …: which figure of the file';
COMMENT ON COLUMN imported.line IS 'line of the file that it stands on';
COMMENT ON COLUMN imported.device IS 'as whoever imported it says, else as the file says; empty: neither does';
COMMENT ON COLUMN imported.model IS 'as whoever imported it says, else as the file says';
COMMENT ON COLUMN imported.variant IS 'quantization; empty: not said';
COMMENT ON COLUMN imported.runtime IS 'what ran the model, as the file says';
COMMENT ON COLUMN imported.build IS 'its build or version, as the file says';
COMMENT ON COLUMN imported.workload IS 'what was run';
COMMENT ON COLUMN imported.metric IS 'a name of ours where the definition is ours too';
COMMENT ON COLUMN imported.value IS 'in unit';
COMMENT ON COLUMN imported.unit IS 'tok/s, s, MiB, J, nat, %, bit/byte, or none';
COMMENT ON COLUMN imported.statistic IS 'what value is of the repetitions: median, mean, …; empty: not said';
COMMENT ON COLUMN imported.n IS 'repetitions or documents behind the value; NULL: not said';
COMMENT ON COLUMN imported.spread IS 'in unit; NULL: not said';
COMMENT ON COLUMN imported.spread_is IS 'standard deviation, standard error';
COMMENT ON COLUMN imported.measured_at IS 'as the file says it';
COMMENT ON COLUMN imported.extra IS 'what else the file says of the figure';

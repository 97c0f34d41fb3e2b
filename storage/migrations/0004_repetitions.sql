-- When each repetition was, on the device's own clock, and what the sensors read meanwhile.
CREATE TABLE repetitions (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    phase VARCHAR NOT NULL,
    mode VARCHAR,
    repetition INTEGER,
    tokens INTEGER,
    depth INTEGER,
    seconds DOUBLE,
    began BIGINT,
    finished BIGINT
);
COMMENT ON TABLE repetitions IS 'one row per timed repetition of a run';
COMMENT ON COLUMN repetitions.cell IS 'cells.cell';
COMMENT ON COLUMN repetitions.attempt IS 'cells.attempt';
COMMENT ON COLUMN repetitions.phase IS 'prefill, decode';
COMMENT ON COLUMN repetitions.mode IS 'bench, app';
COMMENT ON COLUMN repetitions.repetition IS '0, 1, … in the launch';
COMMENT ON COLUMN repetitions.tokens IS 'tokens in the time of seconds: of N tokens with a time each, N - 1 gaps';
COMMENT ON COLUMN repetitions.depth IS 'tokens in the KV cache before';
COMMENT ON COLUMN repetitions.seconds IS 's';
COMMENT ON COLUMN repetitions.began IS 'ns of the device''s monotonic clock; NULL: the runtime does not say when';
COMMENT ON COLUMN repetitions.finished IS 'ns of the device''s monotonic clock; NULL: the runtime does not say when';

CREATE VIEW repetition_readings AS
SELECT r.cell, r.attempt, r.phase, r.mode, r.repetition, s.source, s.name,
       count(*) AS n, avg(s.value) AS mean, min(s.value) AS least, max(s.value) AS most
FROM repetitions AS r
JOIN samples AS s ON s.cell = r.cell AND s.attempt = r.attempt AND s.t BETWEEN r.began AND r.finished
GROUP BY ALL;
COMMENT ON VIEW repetition_readings IS 'what each sensor read during each repetition';
COMMENT ON COLUMN repetition_readings.cell IS 'cells.cell';
COMMENT ON COLUMN repetition_readings.attempt IS 'cells.attempt';
COMMENT ON COLUMN repetition_readings.phase IS 'prefill, decode';
COMMENT ON COLUMN repetition_readings.mode IS 'bench, app';
COMMENT ON COLUMN repetition_readings.repetition IS '0, 1, … in the launch';
COMMENT ON COLUMN repetition_readings.source IS 'the sensor, or the sampler: thermal_zone, proc, …';
COMMENT ON COLUMN repetition_readings.name IS 'what was read; its unit is the end of the name: cpu_c, cpu_mhz, gpu0_w, …';
COMMENT ON COLUMN repetition_readings.n IS 'samples in the repetition';
COMMENT ON COLUMN repetition_readings.mean IS 'in the unit of the name';
COMMENT ON COLUMN repetition_readings.least IS 'in the unit of the name';
COMMENT ON COLUMN repetition_readings.most IS 'in the unit of the name';

-- What was loaded before knows no repetitions: all of it is loaded again from its files, which are the truth.
DELETE FROM measurements;
DELETE FROM samples;
DELETE FROM chunks;
DELETE FROM texts;
DELETE FROM cells;

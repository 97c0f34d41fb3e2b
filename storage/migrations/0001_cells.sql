-- One row per landed attempt of a cell.
CREATE TABLE cells (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    current BOOLEAN NOT NULL,
    device VARCHAR NOT NULL,
    chip VARCHAR NOT NULL,
    simulated BOOLEAN NOT NULL,
    model VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    quant VARCHAR NOT NULL,
    format VARCHAR NOT NULL,
    recipe VARCHAR NOT NULL,
    artifact VARCHAR,
    size BIGINT,
    bits_per_weight DOUBLE,
    types JSON,
    fallbacks JSON,
    runtime VARCHAR NOT NULL,
    build VARCHAR NOT NULL,
    workload_kind VARCHAR NOT NULL,
    workload VARCHAR NOT NULL,
    parameters JSON NOT NULL,
    launch INTEGER NOT NULL,
    series VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    retryable BOOLEAN NOT NULL,
    started_at TIMESTAMP,
    seconds DOUBLE NOT NULL,
    sweep VARCHAR NOT NULL,
    conditions JSON NOT NULL,
    trace_sha256 VARCHAR,
    trace_size BIGINT,
    file_sha256 VARCHAR NOT NULL,
    PRIMARY KEY (cell, attempt)
);
COMMENT ON TABLE cells IS 'one row per landed attempt of a cell';
COMMENT ON COLUMN cells.cell IS 'id: hash of device, recipe, runtime, build, workload, launch';
COMMENT ON COLUMN cells.attempt IS '1, 2, …: a fresh measurement or a retry';
COMMENT ON COLUMN cells.current IS 'the attempt that counts: the latest ok one, else the latest';
COMMENT ON COLUMN cells.device IS 'name of the device profile';
COMMENT ON COLUMN cells.chip IS 'as the profile says';
COMMENT ON COLUMN cells.simulated IS 'a fake device: never shown as measured';
COMMENT ON COLUMN cells.model IS 'name, hub id or path';
COMMENT ON COLUMN cells.variant IS 'quantization with its options, e.g. Q4_K_M+imatrix';
COMMENT ON COLUMN cells.quant IS 'quantization by name';
COMMENT ON COLUMN cells.format IS 'gguf, …';
COMMENT ON COLUMN cells.recipe IS 'id: hash of how the artifact is made';
COMMENT ON COLUMN cells.artifact IS 'sha256 of the file measured';
COMMENT ON COLUMN cells.size IS 'bytes of the artifact';
COMMENT ON COLUMN cells.bits_per_weight IS 'bits: 8 × bytes of tensors / number of weights';
COMMENT ON COLUMN cells.types IS 'tensor type -> number of tensors, in fact';
COMMENT ON COLUMN cells.fallbacks IS 'tensors that got another type than asked for';
COMMENT ON COLUMN cells.runtime IS 'name in the table of runtimes';
COMMENT ON COLUMN cells.build IS 'name and version of what ran';
COMMENT ON COLUMN cells.workload_kind IS 'bench, app, quality';
COMMENT ON COLUMN cells.workload IS 'label, e.g. bench pp512 tg128';
COMMENT ON COLUMN cells.parameters IS 'every parameter of the workload';
COMMENT ON COLUMN cells.launch IS '0, 1, …: number of the launch; launches are the replicates';
COMMENT ON COLUMN cells.series IS 'id without the launch: equal for replicates';
COMMENT ON COLUMN cells.state IS 'ok, failed, skipped';
COMMENT ON COLUMN cells.stage IS 'where it failed: push, start, load, run, parse, land, …';
COMMENT ON COLUMN cells.reason IS 'why it failed';
COMMENT ON COLUMN cells.retryable IS 'whether trying again may help';
COMMENT ON COLUMN cells.started_at IS 'UTC, the controller''s clock';
COMMENT ON COLUMN cells.seconds IS 's, from start to landing';
COMMENT ON COLUMN cells.sweep IS 'id of the sweep that ran it';
COMMENT ON COLUMN cells.conditions IS 'OS, versions, settings in effect, …';
COMMENT ON COLUMN cells.trace_sha256 IS 'of the raw trace as it landed; NULL: nothing ran';
COMMENT ON COLUMN cells.trace_size IS 'bytes of the raw trace';
COMMENT ON COLUMN cells.file_sha256 IS 'of the landed file that this row was read from';

CREATE TABLE measurements (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    unit VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    low DOUBLE,
    high DOUBLE,
    remark VARCHAR NOT NULL,
    samples DOUBLE[] NOT NULL
);
COMMENT ON TABLE measurements IS 'the figures of each launch';
COMMENT ON COLUMN measurements.cell IS 'cells.cell';
COMMENT ON COLUMN measurements.attempt IS 'cells.attempt';
COMMENT ON COLUMN measurements.metric IS 'bench_tg, ttft, resident_peak, ppl, …';
COMMENT ON COLUMN measurements.value IS 'in unit';
COMMENT ON COLUMN measurements.unit IS 'tok/s, s, MiB, nat, %, bit/byte, or none';
COMMENT ON COLUMN measurements.n IS 'number of repetitions, chunks or tokens behind the value';
COMMENT ON COLUMN measurements.low IS 'in unit: lower end of the launch''s own 95 % interval';
COMMENT ON COLUMN measurements.high IS 'in unit: upper end of the launch''s own 95 % interval';
COMMENT ON COLUMN measurements.remark IS 'what a reader must know';
COMMENT ON COLUMN measurements.samples IS 'in unit: repetitions or chunks, in order';

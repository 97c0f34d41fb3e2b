-- What is read from the raw traces.
CREATE TABLE samples (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    t BIGINT,
    source VARCHAR,
    name VARCHAR NOT NULL,
    value DOUBLE
);
COMMENT ON TABLE samples IS 'the sampler''s readings during a run, one row per value';
COMMENT ON COLUMN samples.cell IS 'cells.cell';
COMMENT ON COLUMN samples.attempt IS 'cells.attempt';
COMMENT ON COLUMN samples.t IS 'ns of the device''s monotonic clock';
COMMENT ON COLUMN samples.source IS 'the sampler: proc, …';
COMMENT ON COLUMN samples.name IS 'what was read; its unit is the end of the name: rss_mib, …';
COMMENT ON COLUMN samples.value IS 'in the unit of the name';

CREATE TABLE chunks (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    "index" INTEGER,
    n INTEGER,
    nll DOUBLE
);
COMMENT ON TABLE chunks IS 'perplexity chunks of quality cells';
COMMENT ON COLUMN chunks.cell IS 'cells.cell';
COMMENT ON COLUMN chunks.attempt IS 'cells.attempt';
COMMENT ON COLUMN chunks."index" IS 'number of the chunk in the text, from 0';
COMMENT ON COLUMN chunks.n IS 'tokens scored';
COMMENT ON COLUMN chunks.nll IS 'nat: sum of the negative log-likelihoods of the tokens scored';

CREATE TABLE texts (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    text_sha256 VARCHAR,
    token_sha256 VARCHAR,
    n_tokens BIGINT,
    n_chunks INTEGER,
    n_ctx INTEGER,
    add_bos BOOLEAN,
    bytes BIGINT
);
COMMENT ON TABLE texts IS 'the text that a quality cell was measured on';
COMMENT ON COLUMN texts.cell IS 'cells.cell';
COMMENT ON COLUMN texts.attempt IS 'cells.attempt';
COMMENT ON COLUMN texts.text_sha256 IS 'of the text''s bytes';
COMMENT ON COLUMN texts.token_sha256 IS 'of the token ids as little-endian int32';
COMMENT ON COLUMN texts.n_tokens IS 'tokens of the text';
COMMENT ON COLUMN texts.n_chunks IS 'chunks scored';
COMMENT ON COLUMN texts.n_ctx IS 'tokens in a chunk';
COMMENT ON COLUMN texts.add_bos IS 'whether each chunk begins with BOS';
COMMENT ON COLUMN texts.bytes IS 'bytes of the text scored';

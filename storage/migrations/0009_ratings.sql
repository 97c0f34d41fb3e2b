-- Marks that people gave to answers without knowing who wrote them.
CREATE TABLE ratings (
    number INTEGER NOT NULL PRIMARY KEY,
    rater VARCHAR NOT NULL,
    rated_at TIMESTAMP,
    prompt_set VARCHAR NOT NULL,
    prompt_sha256 VARCHAR NOT NULL,
    answer_sha256 VARCHAR NOT NULL,
    mark INTEGER NOT NULL,
    model VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    artifact VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    runtime VARCHAR NOT NULL,
    build VARCHAR NOT NULL
);
COMMENT ON TABLE ratings IS 'one row per mark and variant that wrote the text; a later one of the same rater counts';
COMMENT ON COLUMN ratings.number IS 'line of the journal ratings/ratings.jsonl';
COMMENT ON COLUMN ratings.rater IS 'who judged';
COMMENT ON COLUMN ratings.rated_at IS 'UTC';
COMMENT ON COLUMN ratings.prompt_set IS 'e.g. edge-ten';
COMMENT ON COLUMN ratings.prompt_sha256 IS 'of the prompt';
COMMENT ON COLUMN ratings.answer_sha256 IS 'of the text that was judged';
COMMENT ON COLUMN ratings.mark IS '1 (worst) to 5 (best)';
COMMENT ON COLUMN ratings.model IS 'cells.model';
COMMENT ON COLUMN ratings.variant IS 'cells.variant';
COMMENT ON COLUMN ratings.artifact IS 'sha256 of the file that wrote it';
COMMENT ON COLUMN ratings.device IS 'name of the device profile';
COMMENT ON COLUMN ratings.runtime IS 'name in the table of runtimes';
COMMENT ON COLUMN ratings.build IS 'name and version of what ran';

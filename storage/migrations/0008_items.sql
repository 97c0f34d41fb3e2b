-- Per document: what a task's accuracy is made of, so that two variants are compared document by document.
CREATE TABLE items (
    cell VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    doc INTEGER NOT NULL,
    doc_hash VARCHAR NOT NULL,
    "group" VARCHAR NOT NULL,
    gold INTEGER NOT NULL,
    chosen INTEGER NOT NULL,
    chosen_norm INTEGER NOT NULL,
    correct BOOLEAN NOT NULL,
    correct_norm BOOLEAN NOT NULL,
    margin DOUBLE,
    ll DOUBLE[] NOT NULL,
    cached BOOLEAN NOT NULL
);
COMMENT ON TABLE items IS 'one row per document of a task';
COMMENT ON COLUMN items.cell IS 'cells.cell';
COMMENT ON COLUMN items.attempt IS 'cells.attempt';
COMMENT ON COLUMN items.doc IS 'number of the document in the task, from 0';
COMMENT ON COLUMN items.doc_hash IS 'of the document, as lm-eval hashes it: the same question under every model';
COMMENT ON COLUMN items."group" IS 'MMLU''s subject; empty where a task has none';
COMMENT ON COLUMN items.gold IS 'the right choice, from 0';
COMMENT ON COLUMN items.chosen IS 'the choice of the greatest log-likelihood, the first of equal ones';
COMMENT ON COLUMN items.chosen_norm IS 'the same by log-likelihood per character';
COMMENT ON COLUMN items.correct IS 'whether the chosen is the right one; of one continuation alone: whether it is greedy';
COMMENT ON COLUMN items.correct_norm IS 'the same by log-likelihood per character';
COMMENT ON COLUMN items.margin IS 'nat: from the likeliest wrong choice up to the right one; NULL where there is none';
COMMENT ON COLUMN items.ll IS 'nat: log-likelihood of each choice';
COMMENT ON COLUMN items.cached IS 'scored by an earlier attempt that was killed';

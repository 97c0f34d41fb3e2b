-- The version that this content is, or will be, published as.
CREATE TABLE publication (version BIGINT NOT NULL);
COMMENT ON TABLE publication IS 'one row: the published version that holds this content';
COMMENT ON COLUMN publication.version IS 'number in the file name, counted up at each publication';
INSERT INTO publication VALUES (0);

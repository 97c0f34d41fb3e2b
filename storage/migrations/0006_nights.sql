-- Which night an attempt was measured for: the same cell is measured again each night.
ALTER TABLE cells ADD COLUMN night VARCHAR DEFAULT '';
COMMENT ON COLUMN cells.night IS 'ISO date of the night that it was measured for; empty: a person asked';

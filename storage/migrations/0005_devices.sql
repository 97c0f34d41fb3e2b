-- The record of each device: its changes of state, and its canaries.
CREATE TABLE device_transitions (
    device VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    before VARCHAR,
    state VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    who VARCHAR NOT NULL,
    happened_at TIMESTAMP,
    failures INTEGER NOT NULL,
    PRIMARY KEY (device, number)
);
COMMENT ON TABLE device_transitions IS 'one row per change of a device''s state';
COMMENT ON COLUMN device_transitions.device IS 'name of the device profile';
COMMENT ON COLUMN device_transitions.number IS '1, 2, …: the device''s state is that of the greatest';
COMMENT ON COLUMN device_transitions.before IS 'state before; NULL: it was not registered';
COMMENT ON COLUMN device_transitions.state IS 'registered, checking, ready, busy, unhealthy, quarantined, retired';
COMMENT ON COLUMN device_transitions.reason IS 'why, in words';
COMMENT ON COLUMN device_transitions.who IS 'farm or person';
COMMENT ON COLUMN device_transitions.happened_at IS 'UTC, the controller''s clock';
COMMENT ON COLUMN device_transitions.failures IS 'failures in a row that brought the device here';

CREATE TABLE canaries (
    device VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    happened_at TIMESTAMP,
    series VARCHAR NOT NULL,
    runtime VARCHAR NOT NULL,
    build VARCHAR NOT NULL,
    clean BOOLEAN NOT NULL,
    why VARCHAR NOT NULL,
    bench_pp DOUBLE,
    bench_tg DOUBLE,
    ppl DOUBLE,
    conditions JSON NOT NULL,
    PRIMARY KEY (device, number)
);
COMMENT ON TABLE canaries IS 'short measurements that say whether a device is still the one it was';
COMMENT ON COLUMN canaries.device IS 'name of the device profile';
COMMENT ON COLUMN canaries.number IS '1, 2, … of the device';
COMMENT ON COLUMN canaries.happened_at IS 'UTC, the controller''s clock';
COMMENT ON COLUMN canaries.series IS 'canaries are compared within it: one system, driver, build and registration';
COMMENT ON COLUMN canaries.runtime IS 'name in the table of runtimes';
COMMENT ON COLUMN canaries.build IS 'name and version of what ran';
COMMENT ON COLUMN canaries.clean IS 'whether nothing was wrong';
COMMENT ON COLUMN canaries.why IS 'what was wrong';
COMMENT ON COLUMN canaries.bench_pp IS 'tok/s of the reference model''s prefill';
COMMENT ON COLUMN canaries.bench_tg IS 'tok/s of the reference model''s decode';
COMMENT ON COLUMN canaries.ppl IS 'perplexity of the reference model; NULL where the runtime cannot';
COMMENT ON COLUMN canaries.conditions IS 'OS, versions, settings, load, …';

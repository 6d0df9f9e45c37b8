-- Events are read by their place in one order: none appears at a place before one that a reader has seen. Transactions end in
-- another order than they write in, so the place is given afterwards, by one transaction at a time, to what has been committed.
-- `sequence` keeps the events of one resource in order: whoever changes it again begins to write after the last change was committed.
ALTER TABLE outbox ADD COLUMN sequence BIGINT;
UPDATE outbox SET sequence = ordered.place
FROM (SELECT uid, row_number() OVER (ORDER BY uid) AS place FROM outbox) AS ordered WHERE ordered.uid = outbox.uid;
ALTER TABLE outbox ALTER COLUMN sequence SET NOT NULL;
ALTER TABLE outbox ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('outbox', 'sequence'), (SELECT COALESCE(MAX(sequence), 0) + 1 FROM outbox), false);
ALTER TABLE outbox ADD COLUMN position BIGINT;
CREATE UNIQUE INDEX outbox_by_position ON outbox (position) WHERE position IS NOT NULL;
CREATE INDEX outbox_by_tenant ON outbox (tenant_id, position);
CREATE INDEX outbox_without_place ON outbox (sequence) WHERE position IS NULL;

-- `placed` is the last place that was given, `forgotten` the last one that is not kept any longer.
CREATE TABLE outbox_ends (
    id SMALLINT PRIMARY KEY CHECK (id = 1),
    placed BIGINT NOT NULL,
    forgotten BIGINT NOT NULL
);
INSERT INTO outbox_ends (id, placed, forgotten) VALUES (1, 0, 0);

-- Gives places to committed events that have none, and wakes all replicas when there were some; answers how many.
CREATE FUNCTION place_events(most BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    last BIGINT;
    given BIGINT;
BEGIN
    PERFORM 1 FROM outbox WHERE position IS NULL LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Held to the end, so that places become visible in their order. The next statement sees what was committed until now.
    SELECT placed INTO last FROM outbox_ends WHERE id = 1 FOR UPDATE;
    UPDATE outbox SET position = last + waiting.turn
    FROM (
        SELECT uid, row_number() OVER (ORDER BY sequence) AS turn
        FROM (SELECT uid, sequence FROM outbox WHERE position IS NULL ORDER BY sequence LIMIT most) AS first
    ) AS waiting
    WHERE outbox.uid = waiting.uid;
    GET DIAGNOSTICS given = ROW_COUNT;
    IF given > 0 THEN
        UPDATE outbox_ends SET placed = last + given WHERE id = 1;
        NOTIFY freehold_events;
    END IF;
    RETURN given;
END
$$;

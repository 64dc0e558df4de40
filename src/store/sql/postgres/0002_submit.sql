-- submit(type, payload, options): a job of the application's own transaction. It writes the row that a node would write for
-- the same submission (submission.ts, new-job.ts); docs/postgres.md describes it.
-- Nodes that know version 2 can work with it.

-- What a job of each type gets where its submission says nothing, as the node that started last had it.
CREATE TABLE types (
  name           text COLLATE "C" PRIMARY KEY,
  timeout_ms     bigint NOT NULL,
  retry_count    integer NOT NULL,
  -- Bytes of a payload.
  max_payload    bigint NOT NULL,
  -- Milliseconds.
  priority_aging bigint NOT NULL
);

-- Jobs that no node has counted yet, a row each: a row of counts would be locked until the application commits.
CREATE TABLE counts_added (
  status text NOT NULL,
  type   text COLLATE "C" NOT NULL,
  bytes  bigint NOT NULL
);

-- What submit() is made of, for itself alone: the rights to all of it are revoked below.

CREATE FUNCTION submit_refuse(field text, must text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'JM002', MESSAGE = field || ': ' || must;
END $$;

-- A UUIDv7 (RFC 9562), as ids.ts makes them: after the milliseconds come the microseconds, so those of one transaction
-- keep their order.
CREATE FUNCTION submit_id(microseconds bigint) RETURNS text
LANGUAGE sql AS $$
  SELECT (lpad(to_hex(microseconds / 1000), 12, '0')
    || '7' || lpad(to_hex(microseconds % 1000 * 4096 / 1000), 3, '0')
    || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid::text
$$;

-- RFC 3339, UTC, with milliseconds. In two parts: the product of one would be rounded.
CREATE FUNCTION submit_timestamp(ms bigint) RETURNS text
LANGUAGE sql AS $$
  SELECT to_char(timestamp 'epoch' + ms / 1000 * interval '1 second' + ms % 1000 * interval '1 millisecond',
    'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- As JSON.stringify writes it: jsonb puts a space after each colon and comma.
CREATE FUNCTION submit_compact(value jsonb) RETURNS text
LANGUAGE sql AS $$
  SELECT regexp_replace(value::text, E'("(?:[^"\\\\]|\\\\.)*")|\\s+', E'\\1', 'g')
$$;

-- Milliseconds of a span (duration.ts), or NULL where there is none.
CREATE FUNCTION submit_span(options jsonb, name text, least_ms bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  value jsonb := options -> name;
  kind  text := jsonb_typeof(value);
  parts text[];
  ms    numeric;
BEGIN
  IF value IS NULL THEN RETURN NULL; END IF;
  IF kind = 'number' THEN
    ms := value::numeric * 1000;
  ELSIF kind = 'string' THEN
    parts := regexp_match(value #>> '{}', '^([0-9]{1,12})(ms|s|m|h|d|w)$');
    ms := parts[1]::numeric * CASE parts[2] WHEN 'ms' THEN 1 WHEN 's' THEN 1000 WHEN 'm' THEN 60000 WHEN 'h' THEN 3600000
      WHEN 'd' THEN 86400000 ELSE 604800000 END;
  END IF;
  IF ms BETWEEN least_ms AND 3650 * 86400000::bigint THEN
    -- Rounded as JavaScript does. What is smaller than any number there is none.
    RETURN floor(CASE kind WHEN 'number' THEN round(value::numeric, 300)::float8 * 1000 + 0.5 ELSE ms::float8 END);
  END IF;
  PERFORM submit_refuse('options.' || name, format('must be a number of seconds, or a text such as "500ms", "90s", "10m", '
    '"2h", "30d", between %sms and 3650d', least_ms));
END $$;

-- A time of RFC 3339 with its offset (envelope.ts) as milliseconds since 1970, or NULL where there is none.
CREATE FUNCTION submit_time(options jsonb, name text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  value text := options ->> name;
  ms    bigint;
BEGIN
  IF NOT options ? name THEN RETURN NULL; END IF;
  IF value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'
  THEN
    BEGIN
      ms := extract(epoch FROM regexp_replace(value, '([.][0-9]{3})[0-9]+', E'\\1')::timestamptz) * 1000;
    EXCEPTION WHEN data_exception THEN
      -- There is no such day.
      ms := NULL;
    END;
    IF ms NOT BETWEEN 0 AND 253402214400000 THEN
      PERFORM submit_refuse('options.' || name, 'must lie between 1970 and 9999');
    END IF;
  END IF;
  IF ms IS NULL THEN
    PERFORM submit_refuse('options.' || name, 'must be a time such as "2030-01-31T08:30:00Z"');
  END IF;
  RETURN ms;
END $$;

CREATE FUNCTION submit_whole(options jsonb, name text, least_value integer, most integer, must text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  value jsonb := options -> name;
BEGIN
  IF value IS NULL THEN RETURN NULL; END IF;
  IF jsonb_typeof(value) = 'number' THEN
    IF value::numeric BETWEEN least_value AND most AND value::numeric % 1 = 0 THEN RETURN value::numeric; END IF;
  END IF;
  PERFORM submit_refuse('options.' || name, must);
END $$;

-- NULL where there are none, as they are stored.
CREATE FUNCTION submit_tags(tags jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  name  text;
  value jsonb;
  n     integer := 0;
BEGIN
  IF tags IS NULL THEN RETURN NULL; END IF;
  IF jsonb_typeof(tags) <> 'object' THEN PERFORM submit_refuse('options.tags', 'must be an object of texts'); END IF;
  FOR name, value IN SELECT * FROM jsonb_each(tags) LOOP
    n := n + 1;
    IF name !~ '^[A-Za-z0-9_.-]{1,64}$' THEN
      PERFORM submit_refuse('options.tags', 'must have names of 1 to 64 letters, digits and ._-');
    ELSIF name = '__proto__' THEN
      PERFORM submit_refuse('options.tags', 'must not have an entry with the name __proto__');
    ELSIF jsonb_typeof(value) <> 'string' OR char_length(value #>> '{}') > 255 THEN
      PERFORM submit_refuse('options.tags.' || name, 'must be a text of up to 255 characters');
    END IF;
  END LOOP;
  IF n > 20 THEN PERFORM submit_refuse('options.tags', 'must have at most 20 entries'); END IF;
  RETURN nullif(submit_compact(tags), '{}');
END $$;

-- The payload as it is stored; refused is what json.ts refuses, and what is too long.
CREATE FUNCTION submit_payload(payload jsonb, most bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  compact  text := submit_compact(payload);
  size     bigint := octet_length(convert_to(compact, 'UTF8'));
  brackets text;
BEGIN
  IF payload IS NULL THEN PERFORM submit_refuse('payload', 'must not be NULL'); END IF;
  IF size > most THEN
    PERFORM submit_refuse('payload', format('must not have more than %s bytes (limits.payload), it has %s', most, size));
  END IF;
  brackets := regexp_replace(regexp_replace(compact, E'"(?:[^"\\\\]|\\\\.)*"', '', 'g'), '[^][{}]+', '', 'g');
  FOR level IN 1..63 LOOP
    EXIT WHEN brackets = '';
    brackets := regexp_replace(brackets, '[[][]]|{}', '', 'g');
  END LOOP;
  IF brackets <> '' THEN PERFORM submit_refuse('payload', 'must not be nested deeper than 63 levels'); END IF;
  -- JavaScript would read a number of so many digits as infinite. Few payloads have any, so few are walked through.
  IF compact ~ '[0-9]{255}' THEN
    IF jsonb_path_exists(payload, '$.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))')
    THEN PERFORM submit_refuse('payload', 'must not have a number that is too large to be kept'); END IF;
  END IF;
  RETURN compact;
END $$;

CREATE FUNCTION submit_type(type text) RETURNS types
LANGUAGE plpgsql AS $$
DECLARE
  known types;
BEGIN
  SELECT * INTO known FROM types WHERE name = submit_type.type;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'JM001', MESSAGE = coalesce(
      format('type: there is no job type "%s", it must be one of ', left(type, 100))
        || (SELECT string_agg(name, ', ' ORDER BY name) FROM types),
      'type: no job type is known yet, one node has to have started');
  END IF;
  RETURN known;
END $$;

-- When it may run at the earliest: now or later.
CREATE FUNCTION submit_run_at(options jsonb, now_ms bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  delay  bigint := submit_span(options, 'delay', 0);
  asked  bigint := submit_time(options, 'run_at');
  run_at bigint := greatest(coalesce(now_ms + delay, asked), now_ms);
BEGIN
  IF delay IS NOT NULL AND asked IS NOT NULL THEN
    PERFORM submit_refuse('options.run_at', 'must be left out where there is a delay');
  END IF;
  IF submit_time(options, 'start_by') <= run_at THEN
    PERFORM submit_refuse('options.start_by',
      format('must be later than %s, when the job may run at the earliest', submit_timestamp(run_at)));
  END IF;
  RETURN run_at;
END $$;

CREATE FUNCTION submit_timeout(options jsonb, known types) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  timeout bigint := submit_span(options, 'timeout', 100);
BEGIN
  IF timeout > known.timeout_ms THEN
    PERFORM submit_refuse('options.timeout', format('must not be longer than %s seconds, the timeout of %s',
      trim_scale(known.timeout_ms / 1000.0), known.name));
  END IF;
  RETURN coalesce(timeout, known.timeout_ms);
END $$;

CREATE FUNCTION submit_check_options(options jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  allowed CONSTANT text[] := ARRAY['priority', 'delay', 'run_at', 'start_by', 'timeout', 'retry_count', 'tags'];
  stray   text;
BEGIN
  IF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN PERFORM submit_refuse('options', 'must be a JSON object'); END IF;
  SELECT min(name) INTO stray FROM jsonb_object_keys(options) AS name WHERE name <> ALL (allowed);
  IF stray IS NOT NULL THEN
    PERFORM submit_refuse('options.' || left(stray, 100),
      'is not taken here, options are ' || array_to_string(allowed, ', '));
  END IF;
END $$;

-- It keeps this path whoever calls it: a temporary table of the caller must not stand in for one of these.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);

CREATE FUNCTION submit(type text, payload jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  us       bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000);
  now_ms   bigint := us / 1000;
  id       text := submit_id(us);
  known    types := submit_type(type);
  content  text := submit_payload(payload, known.max_payload);
  size     bigint := octet_length(convert_to(content, 'UTF8'));
  status   text := 'pending';
  reason   text := 'submitted';
  detail   text := 'accepted and ready to run';
  run_at   bigint;
  priority integer;
  retries  integer;
BEGIN
  PERFORM submit_check_options(options);
  run_at := submit_run_at(options, now_ms);
  IF run_at > now_ms THEN
    status := 'scheduled';
    reason := 'scheduled';
    detail := 'accepted, due at ' || submit_timestamp(run_at);
  END IF;
  priority := coalesce(submit_whole(options, 'priority', 1, 5, 'must be a whole number from 1 (high) to 5 (low)'), 3);
  retries := submit_whole(options, 'retry_count', 0, 100, 'must be a whole number from 0 to 100');

  INSERT INTO jobs (id, type, status, reason, reason_detail, created_at, updated_at, run_at, start_by, priority, rank,
    max_attempts, timeout_ms, payload_bytes, bytes, tags, payload)
  VALUES (id, known.name, status, reason, detail, now_ms, now_ms, nullif(run_at, now_ms), submit_time(options, 'start_by'),
    priority, run_at + (priority - 1) * known.priority_aging, 1 + coalesce(retries, known.retry_count),
    submit_timeout(options, known), size, size, submit_tags(options -> 'tags'), content);
  INSERT INTO tags SELECT id, key || ':' || value FROM jsonb_each_text(options -> 'tags') ON CONFLICT DO NOTHING;
  INSERT INTO counts_added VALUES (status, known.name, size);
  RETURN id;
END $$;

COMMENT ON FUNCTION submit IS 'Stores a job of jobmill in this transaction and answers its id.';

REVOKE ALL ON FUNCTION submit, submit_check_options, submit_timeout, submit_run_at, submit_type, submit_payload, submit_tags,
  submit_whole, submit_time, submit_span, submit_compact, submit_timestamp, submit_id, submit_refuse FROM PUBLIC;

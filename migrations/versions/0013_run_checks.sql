-- Whoever uploads holds no right to lock a run (that asks for UPDATE); the guard over drafts does
-- it in their stead.
ALTER FUNCTION keep_draft() SECURITY DEFINER SET search_path = public, pg_temp;

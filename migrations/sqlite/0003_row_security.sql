-- SQLite has no row-level security; its one process compares the tenant in every statement.
SELECT 1;

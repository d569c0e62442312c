-- A file belongs to one process, which knows what it changes: there is nobody to tell.
SELECT 1;

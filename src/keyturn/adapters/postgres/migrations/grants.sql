-- What the service may do, run by `keyturn log migrate --service ROLE` after the steps; {service} is that role.
-- It reads everything, appends to the log, moves the two notes, and makes the index again. It alters nothing that was appended.

REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {service};
GRANT USAGE ON SCHEMA log, index, local TO {service};
GRANT SELECT ON log.migration TO {service};
GRANT SELECT, INSERT ON log.batch, log.envelope TO {service};
GRANT SELECT, INSERT, UPDATE ON log.note TO {service};
GRANT SELECT, INSERT, DELETE ON index.entry, index.tag, index.subtree TO {service};

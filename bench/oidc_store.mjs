// A durable store for npm's oidc-provider, in the shape its documentation names (`Adapter`): one table of PostgreSQL, a
// prepared statement for each act, a pool. Every write is a transaction that is on disk when it returns.

const TABLE = `CREATE TABLE IF NOT EXISTS oidc_payloads (
  model text, id text, payload jsonb NOT NULL, grant_id text, user_code text, uid text,
  expires_at timestamptz, consumed_at timestamptz, PRIMARY KEY (model, id))`
const INDEXES = ['grant_id', 'user_code', 'uid'].map(
  (name) => `CREATE INDEX IF NOT EXISTS oidc_${name} ON oidc_payloads (model, ${name}) WHERE ${name} IS NOT NULL`)
const UPSERT = `INSERT INTO oidc_payloads (model, id, payload, grant_id, user_code, uid, expires_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id,
    user_code = excluded.user_code, uid = excluded.uid, expires_at = excluded.expires_at`
const FIND = 'SELECT payload, expires_at, consumed_at FROM oidc_payloads WHERE model = $1 AND '
const CONSUME = 'UPDATE oidc_payloads SET consumed_at = now() WHERE model = $1 AND id = $2'
const DESTROY = 'DELETE FROM oidc_payloads WHERE model = $1 AND id = $2'
const REVOKE = 'DELETE FROM oidc_payloads WHERE model = $1 AND grant_id = $2'

// The class that the provider takes as its `adapter`. `pg` is the package, `connection` what its pool takes.
export async function storeOf(pg, connection) {
  const pool = new pg.Pool({ ...connection, max: 15, idleTimeoutMillis: 0 })
  for (const statement of [TABLE, ...INDEXES]) await pool.query(statement)

  return class {
    constructor(model) {
      this.model = model
    }

    async upsert(id, payload, expiresIn) {
      const { grantId = null, userCode = null, uid = null } = payload
      const until = expiresIn ? new Date(Date.now() + expiresIn * 1000) : null
      await this.#run('upsert', UPSERT, id, payload, grantId, userCode, uid, until)
    }

    find(id) {
      return this.#found('id', id)
    }

    findByUserCode(userCode) {
      return this.#found('user_code', userCode)
    }

    findByUid(uid) {
      return this.#found('uid', uid)
    }

    async consume(id) {
      await this.#run('consume', CONSUME, id)
    }

    async destroy(id) {
      await this.#run('destroy', DESTROY, id)
    }

    async revokeByGrantId(grantId) {
      await this.#run('revoke', REVOKE, grantId)
    }

    async #found(column, value) {
      const [row] = (await this.#run(`find_${column}`, `${FIND}${column} = $2`, value)).rows
      if (!row || (row.expires_at && row.expires_at < new Date())) return undefined
      return row.consumed_at ? { ...row.payload, consumed: true } : row.payload
    }

    #run(name, text, ...values) {
      return pool.query({ name, text, values: [this.model, ...values] })
    }
  }
}

// npm's oidc-provider as a process of its own, in its defaults but for what the comparison needs: the same PKCE and
// algorithm, refresh tokens, clients that register themselves. Prints its address, then its processor time for every line
// it is sent, and serves until its input ends.
//
// `node oidc_provider.mjs PACKAGE [auto [PG FOLDER USER DATABASE]]`; with `auto` everybody is logged in and agrees at
// once. `PG`, the package of that name, keeps all in the database of the PostgreSQL server whose socket is in FOLDER;
// without it everything is in the provider's own memory, and lost with it.

import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { storeOf } from './oidc_store.mjs'

const [folder, auto, pg, host, user, database] = process.argv.slice(2)
console.info = console.warn = () => {} // its advice for production
const { Provider } = await import(pathToFileURL(`${folder}/lib/index.js`))
const adapter = pg && (await storeOf((await import(pathToFileURL(`${pg}/lib/index.js`))).default, { host, user, database }))
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    ...(adapter && { adapter }),
    jwks: { keys: [{ ...key, alg: 'ES256', use: 'sig', kid: 'peer' }] },
    cookies: { keys: ['of this process alone'] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['name'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: id }) }),
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    clientBasedCORS: () => true,
    features: {
      devInteractions: { enabled: !auto },
      deviceFlow: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
    },
    ...(auto && { loadExistingGrant, interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` } }),
  })

  async function loadExistingGrant(context) {
    const { client, session } = context.oidc
    const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId })
    grant.addOIDCScope('openid profile')
    await grant.save()
    return grant
  }

  const handle = provider.callback()
  server.on('request', (request, response) => {
    if (auto && request.url.startsWith('/interaction/')) {
      return provider.interactionFinished(request, response, { login: { accountId: 'somebody' } })
    }
    return handle(request, response)
  })
  console.log(issuer)
})
process.stdin.on('end', () => process.exit(0))
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage()
  console.log(JSON.stringify({ cpu_s: (user + system) / 1e6 }))
})

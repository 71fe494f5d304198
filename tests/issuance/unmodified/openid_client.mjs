// npm's openid-client as its manual has it. One line in with what to do, lines out with the address to open and with
// what it knows in the end.
//
// `node openid_client.mjs PACKAGE ISSUER CLIENT_ID CLIENT_SECRET REDIRECT_URI`

import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder, issuer, id, secret, redirect_uri] = process.argv.slice(2)
const client = await import(pathToFileURL(`${folder}/build/index.js`))
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const heard = async () => JSON.parse((await lines.next()).value ?? 'null')
const say = (what) => console.log(JSON.stringify(what))

const config = await client.discovery(new URL(issuer), id, undefined, client.ClientSecretBasic(secret), {
  execute: [client.allowInsecureRequests], // plain http on one's own machine
})
const scope = 'openid profile'

async function byCode(makeUrl) {
  const verifier = client.randomPKCECodeVerifier()
  const expected = { expectedState: client.randomState(), expectedNonce: client.randomNonce() }
  const url = await makeUrl(config, {
    redirect_uri,
    scope,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state: expected.expectedState,
    nonce: expected.expectedNonce,
  })
  say({ open: url.href })
  const tokens = await client.authorizationCodeGrant(config, new URL(await heard()), {
    pkceCodeVerifier: verifier,
    idTokenExpected: true,
    ...expected,
  })
  return client.refreshTokenGrant(config, tokens.refresh_token).then((fresh) => [tokens, fresh])
}

async function byDevice() {
  const asked = await client.initiateDeviceAuthorization(config, { scope })
  say({ open: asked.verification_uri_complete })
  await heard() // the person is through: the first question is answered
  const tokens = await client.pollDeviceAuthorizationGrant(config, { ...asked, interval: 0.01 })
  return [tokens, tokens]
}

const flows = {
  code: () => byCode(async (...given) => client.buildAuthorizationUrl(...given)),
  par: () => byCode(client.buildAuthorizationUrlWithPAR),
  device: byDevice,
}
for (let flow; (flow = await heard()); ) {
  const [tokens, fresh] = await flows[flow]()
  const claims = tokens.claims()
  const user = await client.fetchUserInfo(config, fresh.access_token, claims.sub)
  say({ claims, user, end: client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }).href })
}

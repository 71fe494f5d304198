// npm's openid-client with a key of its own: signed requests, assertions instead of a secret, and a holder who is asked
// by name. Lines out with its public key, the address to open and what it knows; one line in for each.
//
// `node openid_client_keyed.mjs PACKAGE ISSUER CLIENT_ID REDIRECT_URI LOGIN_HINT`

import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder, issuer, id, redirect_uri, login_hint] = process.argv.slice(2)
const client = await import(pathToFileURL(`${folder}/build/index.js`))
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const heard = async () => JSON.parse((await lines.next()).value ?? 'null')
const say = (what) => console.log(JSON.stringify(what))

const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey)
await heard()
say({ keys: [{ kty, crv, x, y }] })

await heard()
const config = await client.discovery(new URL(issuer), id, undefined, client.PrivateKeyJwt(pair.privateKey), {
  execute: [client.allowInsecureRequests], // plain http on one's own machine
})
const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const wanted = {
  redirect_uri,
  scope: 'openid',
  state,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
}
say({ open: (await client.buildAuthorizationUrlWithJAR(config, wanted, pair.privateKey)).href })
const back = new URL(await heard())
const checks = { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true }
say((await client.authorizationCodeGrant(config, back, checks)).claims())

await heard()
const asked = await client.initiateBackchannelAuthentication(config, { scope: 'openid', login_hint })
say(asked)
await heard() // the holder has approved
say((await client.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 0.01 })).claims())

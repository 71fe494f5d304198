// Log in with the electronic social security card: a relying party on openid-client. Types: onecard-login.d.ts.

import * as oidc from 'openid-client'

export const BY_SCAN = 'urn:onecard:acr:scan'
export const BY_CARD = 'urn:onecard:acr:card'
export const BY_NATIONAL_APP = 'urn:onecard:acr:national'

export class LogInError extends Error {
  constructor(error, detail, cause) {
    super(detail ? `${error}: ${detail}` : error, { cause })
    this.name = 'LogInError'
    this.error = error
  }
}

export class OneCardLogin {
  #config
  #given

  static async discover({ issuer, clientId, clientSecret = '', redirectUri = '', scope = 'openid profile', acr = [] }) {
    const server = new URL(issuer)
    const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(server.hostname)
    const proof = clientSecret ? oidc.ClientSecretBasic(clientSecret) : oidc.None()
    const config = await oidc.discovery(server, clientId, undefined, proof, {
      execute: isHere ? [oidc.allowInsecureRequests] : [], // plain http on one's own machine only
    })
    const made = new OneCardLogin()
    made.#config = config
    made.#given = { redirectUri, scope, acr }
    return made
  }

  async begin(language = '') {
    const { redirectUri, scope, acr } = this.#given
    const kept = { verifier: oidc.randomPKCECodeVerifier(), state: oidc.randomState(), nonce: oidc.randomNonce() }
    const url = oidc.buildAuthorizationUrl(this.#config, {
      redirect_uri: redirectUri,
      scope,
      state: kept.state,
      nonce: kept.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(kept.verifier),
      code_challenge_method: 'S256',
      ...(acr.length ? { acr_values: acr.join(' ') } : {}),
      ...(language ? { ui_locales: language } : {}),
    })
    return { url: url.href, kept }
  }

  async finish(kept, answer) {
    if (!kept?.state) throw new LogInError('invalid_response', 'this browser has begun no log-in')
    const url = new URL(this.#given.redirectUri)
    url.search = new URLSearchParams(answer).toString()
    const checks = {
      pkceCodeVerifier: kept.verifier,
      expectedState: kept.state,
      expectedNonce: kept.nonce,
      idTokenExpected: true,
    }
    return this.#person(oidc.authorizationCodeGrant(this.#config, url, checks))
  }

  logoutUrl(person, after) {
    const asked = { id_token_hint: person.idToken, post_logout_redirect_uri: after, state: oidc.randomState() }
    return oidc.buildEndSessionUrl(this.#config, asked).href
  }

  async byDevice(show) {
    const asked = await refusals(oidc.initiateDeviceAuthorization(this.#config, { scope: this.#given.scope }))
    await show({
      url: asked.verification_uri,
      userCode: asked.user_code,
      wholeUrl: asked.verification_uri_complete ?? asked.verification_uri,
      expiresInS: asked.expires_in,
    })
    return this.#person(oidc.pollDeviceAuthorizationGrant(this.#config, asked))
  }

  async #person(asking) {
    const tokens = await refusals(asking)
    const claims = tokens.claims()
    if (!claims) throw new LogInError('invalid_response', 'no ID token')
    const { acr } = this.#given
    if (acr.length && !acr.includes(claims.acr)) {
      throw new LogInError('invalid_response', 'known less well than was asked for')
    }
    const told = await refusals(oidc.fetchUserInfo(this.#config, tokens.access_token, claims.sub))
    return {
      sub: claims.sub,
      acr: claims.acr ?? '',
      amr: claims.amr ?? [],
      authTime: claims.auth_time ?? claims.iat,
      name: told.name ?? '',
      socialSecurityNumber: told.social_security_number ?? '',
      idToken: tokens.id_token,
    }
  }
}

async function refusals(asking) {
  try {
    return await asking
  } catch (error) {
    if (error instanceof oidc.AuthorizationResponseError || error instanceof oidc.ResponseBodyError) {
      throw new LogInError(error.error, error.error_description, error)
    }
    if (error instanceof oidc.WWWAuthenticateChallengeError) {
      const { error: name = 'invalid_response', error_description: detail } = error.cause[0].parameters
      throw new LogInError(name, detail, error)
    }
    if (error instanceof oidc.ClientError) throw new LogInError('invalid_response', error.code, error)
    throw error
  }
}

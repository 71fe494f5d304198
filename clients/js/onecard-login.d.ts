/** The phone that holds the card's key signed this log-in, after its password. */
export const BY_SCAN: 'urn:onecard:acr:scan'
/** The card itself did, after its PIN. */
export const BY_CARD: 'urn:onecard:acr:card'
/** The national platform told who it is. */
export const BY_NATIONAL_APP: 'urn:onecard:acr:national'

/**
 * There is no log-in. `error` is the name the RFCs have for it: `access_denied` when the person refused,
 * `invalid_response` when the answer is not one to what this browser began.
 */
export class LogInError extends Error {
  constructor(error: string, detail?: string, cause?: unknown)
  readonly error: string
}

export interface Settings {
  /** https, or http on this machine. */
  issuer: string
  clientId: string
  /** Empty for programs that can keep none. */
  clientSecret?: string
  /** As registered, letter by letter. */
  redirectUri?: string
  /** `openid profile` where none is given. */
  scope?: string
  /** Ways of logging in that are good enough, the best first; all where none is given. */
  acr?: string[]
}

/** Stays with this browser's session until it is back, and is used once. JSON. */
export interface Kept {
  verifier: string
  state: string
  nonce: string
}

export interface Person {
  /** The key of an account: always the same for one person here, another one at other sites. */
  sub: string
  acr: string
  amr: string[]
  /** Seconds since 1970. */
  authTime: number
  /** Whole where the person agreed, else masked; empty without the scope `profile`. */
  name: string
  /** Empty unless this site is registered for it, asked for it and the person agreed. */
  socialSecurityNumber: string
  /** For `logoutUrl`. */
  idToken: string
}

/** What a device shows: open `url` and type `userCode`, or open `wholeUrl` (as a QR code). */
export interface DeviceCode {
  url: string
  userCode: string
  wholeUrl: string
  expiresInS: number
}

/** One relying party. Calls throw `LogInError` where there is no log-in; errors of the network pass through. */
export class OneCardLogin {
  private constructor()
  static discover(settings: Settings): Promise<OneCardLogin>
  /** `language` of the log-in page: `zh` or `en`; the browser's where none is given. */
  begin(language?: string): Promise<{ url: string; kept: Kept }>
  /** Who logged in. `answer`: the parameters the browser came back with, as an address has them after `?`. */
  finish(kept: Kept | undefined, answer: string | URLSearchParams): Promise<Person>
  /** Where the browser goes to end the log-in; it then comes to `after`, which is registered for that. */
  logoutUrl(person: Person, after: string): string
  /** Log-in on a device without a browser (RFC 8628): `show` is called once. */
  byDevice(show: (code: DeviceCode) => void | Promise<void>): Promise<Person>
}

// What is about the example's pages and sessions, and not about logging in.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { LogInError } from './onecard-login.js'

const PAGE = readFileSync(new URL('../example_page.html', import.meta.url), 'utf8')
const ENTER = `<p>不用记密码，拿手机扫一下。<br>No password to remember: scan with the phone.</p>
<p><a href="/enter">用电子社保卡登录 / Log in by scan</a></p>`
const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
const welcome = (person) => `<p>您好，<b>${escape(person.name)}</b> / Welcome</p>
<p>您在本站的编号 / your identifier at this site:<br><code>${escape(person.sub)}</code></p>
<p><a href="/leave">退出 / Log out</a></p>`
const refused = (error) => `<p role="alert">没有登录 / Not logged in: ${escape(error)}</p>`

export function page(person, error) {
  const content = (error ? refused(error) : '') + (person ? welcome(person) : ENTER)
  const headers = { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' }
  return [error ? 403 : 200, headers, PAGE.replace('<!-- content -->', () => content)]
}

// In memory, as is enough for an example; a cookie names them.
const sessions = new Map()
const sessionOf = (request) => sessions.get(/example-site=([\w-]+)/.exec(request.headers.cookie)?.[1]) ?? {}

// With a new session each time: nobody can prepare one for somebody else.
export function go(url, session = {}) {
  const key = randomUUID()
  sessions.set(key, session)
  return [303, { Location: url, 'Set-Cookie': `example-site=${key}; HttpOnly; SameSite=Lax; Path=/` }, '']
}

// `pages`: path to (session, parameters) => answer.
export function serve(site, pages) {
  const answerTo = async (request) => {
    const { pathname, searchParams } = new URL(request.url, site)
    return (pages[pathname] ?? (() => [404, {}, '']))(sessionOf(request), searchParams)
  }
  createServer(async (request, response) => {
    const answer = await answerTo(request)
      .catch((error) => (error instanceof LogInError ? page(undefined, error.error) : fault(error)))
    response.writeHead(answer[0], answer[1]).end(answer[2])
  }).listen(new URL(site).port, '127.0.0.1', () => console.log(site))
}

function fault(error) {
  console.error(error)
  return [500, {}, '']
}

// 示例网站：扫码登录、看到是谁、退出 / an example site: log in by scan, see who it is, log out.
//
//   ./onecard login client add hall-1 --name 示例办事大厅 --scope profile \
//       --redirect http://127.0.0.1:8600/back --logout http://127.0.0.1:8600/ > hall-1.json
//   cd clients/js && npm install && node example-site.js ../../hall-1.json 8600

import { readFileSync } from 'node:fs'
import { go, page, serve } from './example-pages.js'
import { OneCardLogin } from './onecard-login.js'

const [file, port] = process.argv.slice(2)
const { issuer, client_id: clientId, client_secret: clientSecret } = JSON.parse(readFileSync(file, 'utf8'))
const site = `http://127.0.0.1:${port}`
const login = await OneCardLogin.discover({ issuer, clientId, clientSecret, redirectUri: `${site}/back` })

serve(site, {
  '/': async ({ person }) => page(person),
  '/enter': async () => {
    const { url, kept } = await login.begin()
    return go(url, { kept })
  },
  '/back': async (session, answer) => {
    const { kept } = session
    delete session.kept // once
    return go('/', { person: await login.finish(kept, answer) })
  },
  '/leave': async ({ person }) => go(person ? login.logoutUrl(person, `${site}/`) : '/'),
})

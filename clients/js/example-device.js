// 示例自助机：没有浏览器的设备 / an example kiosk: a device without a browser.
//
//   ./onecard login client add kiosk-1 --name 示例自助机 --scope profile --device > kiosk-1.json
//   cd clients/js && npm install && node example-device.js ../../kiosk-1.json

import { readFileSync } from 'node:fs'
import { LogInError, OneCardLogin } from './onecard-login.js'

const client = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const { issuer, client_id: clientId, client_secret: clientSecret } = client
const login = await OneCardLogin.discover({ issuer, clientId, clientSecret })
try {
  const person = await login.byDevice(({ url, userCode }) => {
    console.log(`打开 / open: ${url}\n输入 / type: ${userCode}`)
  })
  console.log(`您好 / welcome: ${person.name} (${person.sub})`)
} catch (error) {
  if (!(error instanceof LogInError)) throw error
  console.error(`没有登录 / not logged in: ${error.error}`)
  process.exitCode = 1
}

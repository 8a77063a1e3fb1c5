// node new_user.js NAME >> users.txt: the line for the file goes to stdout, the token to the terminal.
import { createHash, randomBytes } from 'node:crypto'

const [name] = process.argv.slice(2)
if (!name || /[:\s]/.test(name)) {
  console.error('node new_user.js NAME >> users.txt')
  process.exit(1)
}
const token = randomBytes(24).toString('base64url')
console.log(`${name}:${createHash('sha256').update(token).digest('hex')}`)
console.error(`token of ${name}: ${token}`)

export type Command = { type: 'join'; room: string; name: string } | { type: 'go'; dx: number; dy: number } | { type: 'leave' }

const roomForm = /^[a-z0-9-]{1,40}$/
const nameForm = /^[\p{L}\p{N}_-]{1,30}$/u

/** The command in a line; a string names the fault. A peer may send anything. */
export function readCommand(line: string): Command | string {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return 'a command is a line of JSON'
  }
  if (typeof value !== 'object' || value === null) return 'a command is an object'
  const { type, room, name, dx, dy } = value as { [key: string]: unknown }
  switch (type) {
    case 'join':
      if (typeof room !== 'string' || !roomForm.test(room)) return 'a room has 1 to 40 letters, digits and hyphens'
      if (typeof name !== 'string' || !nameForm.test(name)) return 'a name has 1 to 30 letters and digits'
      return { type, room, name }
    case 'go':
      if (!isStep(dx) || !isStep(dy)) return 'dx and dy are -1, 0 or 1'
      return { type, dx, dy }
    case 'leave':
      return { type }
    default:
      return 'commands: join, go, leave'
  }
}

function isStep(value: unknown): value is number {
  return value === -1 || value === 0 || value === 1
}

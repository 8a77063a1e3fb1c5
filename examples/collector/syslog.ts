// RFC 5424, RFC 3164, and other formats: a collector throws nothing away.

export interface Record {
  format: 'rfc5424' | 'rfc3164' | 'none'
  facility?: number
  severity?: number
  /** ISO 8601, in UTC. */
  time?: string
  host?: string
  app?: string
  process?: string
  messageId?: string
  data?: { [id: string]: { [name: string]: string } }
  message: string
}

const modern = /^<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) /
const classic = /^<(\d{1,3})>([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) /
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

export function parseSyslog(text: string, now: Date): Record {
  return parseModern(text) ?? parseClassic(text, now) ?? { format: 'none', message: text }
}

function priority(digits: string): { facility: number; severity: number } | undefined {
  const value = Number(digits)
  return value > 191 ? undefined : { facility: value >> 3, severity: value & 7 }
}

function parseModern(text: string): Record | undefined {
  const match = modern.exec(text)
  const level = match && priority(match[1]!)
  if (!level) return undefined
  const [, , time, host, app, process, messageId] = match
  const structured = parseData(text, match[0].length)
  if (!structured) return undefined
  const instant = time === '-' ? undefined : new Date(time!)
  if (instant && Number.isNaN(instant.getTime())) return undefined
  const given = (name: string, value: string | undefined) => (value === '-' ? {} : { [name]: value })
  // A byte order mark says that the message is UTF-8, which it is taken for anyway.
  const message = text
    .slice(structured.end)
    .replace(/^ /, '')
    .replace(/^\uFEFF/, '')
  return {
    format: 'rfc5424',
    ...level,
    ...(instant ? { time: instant.toISOString() } : {}),
    ...given('host', host),
    ...given('app', app),
    ...given('process', process),
    ...given('messageId', messageId),
    ...(Object.keys(structured.data).length > 0 ? { data: structured.data } : {}),
    message,
  }
}

/** Structured data from `at` on: `-`, or one or more of `[id name="value" …]`, where `"`, `\` and `]` are escaped in values. */
function parseData(text: string, at: number): { data: { [id: string]: { [name: string]: string } }; end: number } | undefined {
  if (text[at] === '-') return { data: {}, end: at + 1 }
  // A sender chooses the names: an assignment to `__proto__` would make no property.
  const elements: [id: string, values: { [name: string]: string }][] = []
  const element = /\[([^\s="\]]+)((?: [^\s="\]]+="(?:[^"\\\]]|\\.)*")*)\]/y
  const parameter = / ([^\s="\]]+)="((?:[^"\\\]]|\\.)*)"/g
  let end = at
  for (;;) {
    element.lastIndex = end
    const match = element.exec(text)
    if (!match) break
    end = element.lastIndex
    const values = [...match[2]!.matchAll(parameter)].map(([, name, value]) => [name!, value!.replace(/\\(["\\\]])/g, '$1')])
    elements.push([match[1]!, Object.fromEntries(values) as { [name: string]: string }])
  }
  return end === at || (end < text.length && text[end] !== ' ') ? undefined : { data: Object.fromEntries(elements), end }
}

function parseClassic(text: string, now: Date): Record | undefined {
  const match = classic.exec(text)
  const level = match && priority(match[1]!)
  const month = months.indexOf(match?.[2] ?? '')
  if (!level || month === -1) return undefined
  const [, , , day, hours, minutes, seconds] = match
  // It has neither a year nor a zone: the sender's clock is taken for ours, and its day for one that is not in the future.
  let time = new Date(now.getFullYear(), month, Number(day), Number(hours), Number(minutes), Number(seconds))
  const tomorrow = now.getTime() + 86_400_000
  if (time.getTime() > tomorrow) time = new Date(new Date(time).setFullYear(now.getFullYear() - 1))
  const rest = text.slice(match[0].length)
  // `host tag[123]: message`; a sender on the same machine leaves its host out.
  const tagged = /^(?:(\S+) )?([^\s:[\]]{1,48})(?:\[([^\]]*)\])?: ?/.exec(rest)
  const [header = '', host, app, process] = tagged ?? []
  return {
    format: 'rfc3164',
    ...level,
    time: time.toISOString(),
    ...(host === undefined ? {} : { host }),
    ...(app === undefined ? {} : { app }),
    ...(process === undefined ? {} : { process }),
    message: rest.slice(header.length),
  }
}

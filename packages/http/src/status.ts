import { STATUS_CODES } from 'node:http'

const lines: (string | undefined)[] = []

/** `HTTP/1.1 200 OK\r\n` */
export function statusLine(status: number): string {
  lines[status] ??= `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`
  return lines[status]
}

export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? 'Unknown'
}

let date = ''

function forget(): void {
  date = ''
}

/** `Date: …\r\n`, made once a second. */
export function dateLine(): string {
  if (date === '') {
    const now = Date.now()
    date = `Date: ${new Date(now).toUTCString()}\r\n`
    setTimeout(forget, 1000 - (now % 1000)).unref()
  }
  return date
}

let prefixDate = ''
let prefix = ''

/** The beginning of nearly every response: the status line of 200, and the date. `dated`: without it. */
export function okPrefix(dated = false): string {
  if (dated) return statusLine(200)
  const line = dateLine()
  if (line !== prefixDate) {
    prefixDate = line
    prefix = statusLine(200) + line
  }
  return prefix
}

/**
 * An error for a line of the log: its stack, its code (the key of the documentation, missing in `stack`), and its causes.
 */
export function inFull(error: Error, depth = 0): string {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  const stack = error.stack ?? `${error.name}: ${error.message}`
  const [first = ''] = stack.split('\n', 1)
  const coded = typeof code !== 'string' || first.includes(code) ? stack : withCode(stack, code)
  return cause instanceof Error && depth < 3 ? `${coded}\n  caused by ${inFull(cause, depth + 1)}` : coded
}

/** As Node's own errors have it: `TypeError [ERR_…]: …`. */
function withCode(stack: string, code: string): string {
  const at = /^[\w$.]+(?=[:\n]|$)/.exec(stack)?.[0].length ?? 0
  return at === 0 ? `[${code}] ${stack}` : `${stack.slice(0, at)} [${code}]${stack.slice(at)}`
}

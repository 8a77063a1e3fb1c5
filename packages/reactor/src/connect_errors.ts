import { MultireactorError, toEnvelope } from '@multireactor/addon'

export const advice: Record<string, string> = {
  ECONNREFUSED: 'no server listens there',
  ETIMEDOUT: 'no answer came in time',
  ENETUNREACH: 'no route to that network',
  EHOSTUNREACH: 'no route to that host',
  ENOENT: 'no socket has that path',
  EACCES: 'permission denied',
  EADDRINUSE: 'localPort is in use',
  EADDRNOTAVAIL: 'localAddress is not an address of this machine, or has no free port',
  EINVAL: 'the address is not valid',
  ENAMETOOLONG: 'a Unix path has at most 107 bytes',
  EMFILE: 'the process has no file descriptors left: raise `ulimit -n`',
  ENOBUFS: 'more than 1,024 different sets of options are in use, or the kernel has no memory',
}

export function failure(plan: { readonly name: string }, cause: Error, why: string): MultireactorError {
  // An open hook may throw anything.
  const { code } = toEnvelope(cause)
  return new MultireactorError('ERR_MR_CONNECT', `connect ${code ?? 'failed'} ${plan.name}: ${why}`, { cause })
}

/** As `net.connect` makes them: code, syscall, address, port. */
export function systemError(code: string, address: string, port = 0): Error {
  const place = port === 0 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  const error = new Error(`connect ${code} ${place}`)
  return Object.assign(error, { code, syscall: 'connect', address, ...(port === 0 ? {} : { port }) })
}

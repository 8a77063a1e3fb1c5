/** @typedef {'round-robin' | 'least-connections'} Choice */
/** @typedef {{ name: string, target: { host: string, port: number } | { path: string } }} UpstreamAddress */

/**
 * The settings, from the environment, which every thread has: an app module cannot be given functions or objects. `main.js` reads them first, so that
 * faults are reported before anything listens. Throws one error that names all faults.
 * @param {NodeJS.ProcessEnv} environment
 */
export function readSettings(environment) {
  /** @type {string[]} */
  const wrong = []
  /** An empty variable is one that is not set. @param {string} name */
  const text = (name) => environment[name]?.trim() || undefined
  /** @param {string} name @param {number} fallback @param {number} least @param {number} most */
  const integer = (name, fallback, least, most) => optionalInteger(name, least, most) ?? fallback
  /** @param {string} name @param {number} least @param {number} most */
  const optionalInteger = (name, least, most) => {
    const value = text(name)
    if (value === undefined) return undefined
    if (/^\d+$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
    wrong.push(`${name} must be a whole number from ${least} to ${most}, and is '${value}'`)
    return undefined
  }
  /** @template {string} T @param {string} name @param {T} fallback @param {readonly T[]} all @returns {T} */
  const oneOf = (name, fallback, all) => {
    const value = text(name) ?? fallback
    const found = all.find((one) => one === value)
    if (found === undefined) wrong.push(`${name} must be ${all.join(', ')}, and is '${value}'`)
    return found ?? fallback
  }
  /** @param {string} name @param {string} fallback */
  const list = (name, fallback) => (text(name) ?? fallback).split(',').map((part) => part.trim())

  const upstreams = list('UPSTREAMS', '127.0.0.1:8001,127.0.0.1:8002').flatMap((name) => {
    const address = upstreamAddress(name)
    if (address === undefined)
      wrong.push(`UPSTREAMS must be host:port, [address]:port or /path, with commas between, and has '${name}'`)
    return address ?? []
  })
  const sendProxy = oneOf('SEND_PROXY', '0', ['0', '1', '2'])
  const settings = {
    port: integer('PORT', 7000, 0, 65_535),
    reactors: integer('REACTORS', 2, 1, 1024),
    upstreams,
    /** @type {Choice} */
    choice: oneOf('CHOICE', 'round-robin', ['round-robin', 'least-connections']),
    /** The version of the PROXY header for the upstreams; undefined: none. */
    sendProxy: sendProxy === '0' ? undefined : sendProxy === '1' ? /** @type {const} */ (1) : /** @type {const} */ (2),
    /** Whose PROXY headers are read; undefined: none is expected. */
    proxyFrom: text('PROXY_FROM') === undefined ? undefined : list('PROXY_FROM', ''),
    checkMs: integer('CHECK_MS', 1_000, 10, 0x7fff_ffff),
    connectMs: integer('CONNECT_MS', 2_000, 1, 0x7fff_ffff),
    attempts: integer('ATTEMPTS', 3, 1, 1_000),
    idleMs: integer('IDLE_MS', 600_000, 0, 0x7fff_ffff),
    mostPerUpstream: integer('PER_UPSTREAM', 1_000, 1, 1_000_000),
    connections: optionalInteger('CONNECTIONS', 1, 2 ** 31),
    connectionsPerAddress: optionalInteger('CONNECTIONS_PER_ADDRESS', 1, 2 ** 31),
  }
  if (wrong.length > 0) throw new Error(wrong.join('\n'))
  return settings
}

/** @param {string} name @returns {UpstreamAddress | undefined} */
function upstreamAddress(name) {
  if (/\s/.test(name)) return undefined
  if (name.startsWith('/')) return { name, target: { path: name } }
  const match = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(name)
  const port = Number(match?.[3])
  if (match === null || port < 1 || port > 65_535) return undefined
  return { name, target: { host: match[1] ?? match[2] ?? '', port } }
}

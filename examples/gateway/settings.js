/**
 * From the environment, which every thread has. Throws one error that names everything that is wrong.
 * @param {NodeJS.ProcessEnv} environment
 */
export function readSettings(environment) {
  /** @type {string[]} */
  const wrong = []
  /** @param {string} name @param {number} fallback @param {number} least @param {number} most */
  const integer = (name, fallback, least, most) => {
    const value = environment[name] || String(fallback)
    if (/^\d+$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
    wrong.push(`${name} must be a whole number from ${least} to ${most}, and is '${value}'`)
    return fallback
  }
  /** @param {string} name */
  const secret = (name) => {
    const value = environment[name] ?? ''
    if (value.length < 16) wrong.push(`${name} must have 16 characters or more, such as the output of: openssl rand -hex 16`)
    return value
  }
  const port = integer('PORT', 7000, 0, 65_533)
  const settings = {
    /** Devices that measure, devices that act, and the API; 0: the system chooses. */
    ports: port === 0 ? [0, 0, 0] : [port, port + 1, port + 2],
    reactors: integer('REACTORS', 2, 1, 1024),
    /** The secret behind the tokens of devices. */
    secret: secret('DEVICE_SECRET'),
    /** The token that callers of the API send as `Authorization: Bearer …`. */
    apiToken: secret('API_TOKEN'),
    loginMs: integer('LOGIN_MS', 5_000, 10, 600_000),
    commandMs: integer('COMMAND_MS', 5_000, 10, 25_000),
    /** A device that has said nothing for so long has gone: it sends a ping now and then. */
    silenceMs: integer('SILENCE_MS', 120_000, 100, 0x7fff_ffff),
  }
  if (wrong.length > 0) throw new Error(wrong.join('\n'))
  return settings
}

import { MultireactorError, shown } from '@multireactor/addon'

/** The option `fd`: one descriptor, or one for each reactor. */
export function readFds(where: string, value: unknown): readonly number[] | undefined {
  if (value === undefined) return undefined
  const fds: readonly unknown[] = Array.isArray(value) ? value : [value]
  const isFd = (fd: unknown): fd is number => typeof fd === 'number' && Number.isInteger(fd) && fd >= 0 && fd <= 0x7fff_ffff
  const wrong = fds.find((fd) => !isFd(fd))
  if (fds.length === 0 || wrong !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'fd' must be the number of an open descriptor, or a list of such numbers, and is ${shown(wrong ?? value)}`,
    )
  }
  const twice = fds.find((fd, i) => fds.indexOf(fd) !== i)
  if (twice !== undefined) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: 'fd' names the descriptor ${twice} twice`)
  }
  return fds as readonly number[]
}

import { MultireactorError } from '@multireactor/addon'

/** Where systemd's descriptors begin (SD_LISTEN_FDS_START). */
const firstFd = 3

/** A descriptor belongs to the first listener that asks for it. */
const taken = new Set<number>()

/** The descriptors that systemd passed to this process, all of them or those of one name; see sd_listen_fds(3). */
export function socketsOfSystemd(where: string, name: true | string): number[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: list } = process.env
  const refuse = (what: string): never => {
    throw new MultireactorError('ERR_MR_SOCKET_ACTIVATION', `${where}: ${what}`)
  }
  if (count === undefined || pid === undefined) {
    refuse('LISTEN_FDS and LISTEN_PID are not set: start the service through its .socket unit')
  }
  if (pid !== String(process.pid)) {
    refuse(
      `LISTEN_PID is ${pid}, and this is process ${process.pid}: start node directly in ExecStart, or with \`exec\`, not as a child of a shell or of npx`,
    )
  }
  const number = Number(count)
  if (!Number.isInteger(number) || number < 1) refuse(`LISTEN_FDS is '${count}', and should be a number of sockets from 1 up`)
  const names = (list ?? '').split(':')
  const all = Array.from({ length: number }, (_, i) => ({ fd: firstFd + i, name: names[i] ?? '' }))
  const wanted = name === true ? all : all.filter((one) => one.name === name)
  if (wanted.length === 0) {
    refuse(`there is no socket with FileDescriptorName=${name}: LISTEN_FDNAMES is '${list ?? ''}'`)
  }
  const again = wanted.find(({ fd }) => taken.has(fd))
  if (again) refuse(`descriptor ${again.fd} serves another listener of this process already`)
  for (const { fd } of wanted) taken.add(fd)
  return wanted.map(({ fd }) => fd)
}

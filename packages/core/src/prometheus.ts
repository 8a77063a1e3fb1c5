import { MultireactorError, OptionReader, type ReactorCounterName, shown, type WorkerCounterName } from '@multireactor/addon'
import type { ThreadStats } from './stats.js'

type Kind = 'counter' | 'gauge'
type Description = readonly [name: string, kind: Kind, help: string]

const reactorMetrics: Record<ReactorCounterName, Description> = {
  open: ['connections_open', 'gauge', 'Open connections, accepted ones and client connections.'],
  accepted: ['accepted_total', 'counter', 'Connections accepted.'],
  handedOver: ['handed_over_total', 'counter', 'Fresh connections given to another reactor.'],
  acceptErrors: ['accept_errors_total', 'counter', 'Calls of accept() that failed.'],
  bytesRead: ['read_bytes_total', 'counter', 'Bytes received.'],
  bytesWritten: ['written_bytes_total', 'counter', 'Bytes sent.'],
  framesRead: ['frames_read_total', 'counter', 'Frames cut.'],
  framesSubmitted: ['frames_submitted_total', 'counter', 'Frames given to the pool.'],
  repliesWritten: ['replies_written_total', 'counter', 'Replies of the pool that were sent.'],
  repliesLate: ['replies_late_total', 'counter', 'Replies to connections that had closed.'],
  repliesHeld: ['replies_held_total', 'counter', 'Replies that waited for their turn.'],
  sends: ['sends_total', 'counter', 'Sends from other threads.'],
  pausesByQueue: ['pauses_by_queue_total', 'counter', 'Pauses in reading a connection because the task queue was full.'],
  pausesByPeer: ['pauses_by_peer_total', 'counter', 'Pauses in reading a connection because its peer did not read.'],
  turns: ['turns_total', 'counter', 'Turns of the reactor loop.'],
  moved: ['moved_total', 'counter', 'Connections moved to another reactor.'],
  framesShed: ['frames_shed_total', 'counter', 'Frames refused because the queue was full.'],
  acceptsDelayed: ['accepts_delayed_total', 'counter', 'Pauses of a listener because of acceptsPerSecond.'],
  buffered: ['buffered_bytes', 'gauge', 'Bytes received and not cut, or not sent yet.'],
  framesInline: ['frames_inline_total', 'counter', 'Frames whose parse ran on the reactor.'],
  inlineOverruns: [
    'inline_overruns_total',
    'counter',
    'Frames whose parse ran on the reactor for longer than the limit for inline frames.',
  ],
  subscriptions: ['subscriptions', 'gauge', 'Subscriptions of open connections.'],
  publications: ['publications_total', 'counter', 'Publications sent to subscribers.'],
  publicationsDropped: ['publications_dropped_total', 'counter', 'Publications that slow subscribers did not get.'],
  connecting: ['connecting', 'gauge', 'Attempts to connect that are under way.'],
  connected: ['connected_total', 'counter', 'Client connections made.'],
  connectFailures: ['connect_failures_total', 'counter', 'Attempts to connect that failed.'],
  piped: ['piped_total', 'counter', 'Pairs of connections that were piped.'],
  callsAfterClose: ['calls_after_close_total', 'counter', 'Calls of the app on connections that had closed; they had no effect.'],
  turnsBounded: [
    'turns_bounded_total',
    'counter',
    'Turns that used up their budget of bytes or CPU time and left work for the next one.',
  ],
  framesSetAside: ['frames_set_aside_total', 'counter', 'Frames that waited because there was no room for their replies.'],
  framesCancelled: ['frames_cancelled_total', 'counter', 'Frames set aside whose connection closed.'],
  turnBytesMost: ['turn_bytes_max', 'gauge', 'The largest turn so far, in bytes of its budget.'],
  turnCpuNsMost: ['turn_cpu_ns_max', 'gauge', 'The longest turn so far, in nanoseconds of CPU time of its budget.'],
  messagesDropped: ['messages_dropped_total', 'counter', 'WebSocket messages that slow peers did not get.'],
}

const workerMetrics: Record<WorkerCounterName, Description> = {
  framesStarted: ['worker_frames_started_total', 'counter', 'Frames begun.'],
  framesSettled: ['worker_frames_settled_total', 'counter', 'Frames finished.'],
  framesFailed: ['worker_frames_failed_total', 'counter', 'Frames whose parse failed.'],
  framesStolen: ['worker_frames_stolen_total', 'counter', 'Frames taken over from a busy worker.'],
  framesCancelled: ['worker_frames_cancelled_total', 'counter', 'Frames whose connection had closed.'],
  framesLost: ['worker_frames_lost_total', 'counter', 'Frames lost with their worker.'],
  framesRetried: ['worker_frames_retried_total', 'counter', 'Frames run once more.'],
  busyNs: ['worker_busy_seconds_total', 'counter', 'Time spent in parse.'],
  framesShed: ['worker_frames_shed_total', 'counter', 'Frames that had waited too long.'],
}

/** The `Content-Type` of the text that `prometheusText` returns. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * Statistics in the text format of Prometheus (0.0.4): of `server.stats()`, on the main thread, or of the `server.stats()` that
 * `start` gives to every thread. Series are labelled by `reactor`, `worker` and `reason`. Never blocks. Throws `ERR_MR_OPTION_RANGE`
 * for a prefix that is no metric name.
 */
export function prometheusText(
  stats: ThreadStats & { workersReplaced?: number; reactorsReplaced?: number },
  options: { prefix?: string } = {},
): string {
  const prefix = new OptionReader('prometheusText()', options, ['prefix']).string('prefix') ?? 'multireactor'
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `prometheusText(): 'prefix' must be the beginning of a metric's name, and is ${shown(prefix)}`,
    )
  }
  if (!isStats(stats)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `prometheusText(): must be a result of server.stats(), and is ${shown(stats)}`,
    )
  }
  const lines: string[] = []
  const family = ([name, kind, help]: Description, samples: Iterable<readonly [labels: string, value: number]>): void => {
    lines.push(`# HELP ${prefix}_${name} ${help}`, `# TYPE ${prefix}_${name} ${kind}`)
    for (const [labels, value] of samples) lines.push(`${prefix}_${name}${labels} ${value}`)
  }
  for (const [counter, description] of Object.entries(reactorMetrics)) {
    family(
      description,
      stats.reactors.map((reactor, i) => [`{reactor="${i}"}`, reactor[counter as ReactorCounterName]] as const),
    )
  }
  family(
    ['closed_total', 'counter', 'Connections closed, by reason.'],
    stats.reactors.flatMap(({ closed }, i) =>
      Object.entries(closed).map(([reason, count]) => [`{reactor="${i}",reason="${reason}"}`, count] as const),
    ),
  )
  for (const [counter, description] of Object.entries(workerMetrics)) {
    const unit = counter === 'busyNs' ? 1e9 : 1
    family(
      description,
      stats.workers.map((worker, i) => [`{worker="${i}"}`, worker[counter as WorkerCounterName] / unit] as const),
    )
  }
  const single = (name: string, kind: Kind, help: string, value: number): void => family([name, kind, help], [['', value]])
  single('queue_tasks', 'gauge', 'Tasks that wait for a worker.', stats.queue.tasks)
  single('queue_frames', 'gauge', 'Frames that wait for a worker.', stats.queue.frames)
  single('queue_bytes', 'gauge', 'Bytes of the tasks that wait.', stats.queue.bytes)
  family(
    ['memory_bytes', 'gauge', 'Memory that limits.memory bounds, in bytes, by kind.'],
    Object.entries(stats.memory).flatMap(([kind, bytes]) => (kind === 'sum' ? [] : [[`{kind="${kind}"}`, bytes] as const])),
  )
  single('replies_unrouted_total', 'counter', 'Replies dropped because their connection had closed.', stats.repliesUnrouted)
  const { workersReplaced, reactorsReplaced } = stats
  if (workersReplaced !== undefined) {
    single('workers_replaced_total', 'counter', 'Worker threads that were replaced.', workersReplaced)
  }
  if (reactorsReplaced !== undefined) {
    single('reactors_replaced_total', 'counter', 'Reactor threads that were replaced.', reactorsReplaced)
  }
  return `${lines.join('\n')}\n`
}

function isStats(value: unknown): value is ThreadStats {
  if (typeof value !== 'object' || value === null) return false
  const { reactors, workers, queue, memory } = value as Partial<ThreadStats>
  return Array.isArray(reactors) && Array.isArray(workers) && typeof queue === 'object' && typeof memory === 'object'
}

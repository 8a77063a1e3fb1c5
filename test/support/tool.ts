import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

export interface ToolResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a program that scripts/setup-tools.sh installs. Rejects when it is missing: such a test is never skipped. */
export async function tool(name: string, args: readonly string[], input?: string): Promise<ToolResult> {
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.on('error', () => {}) // it may have ended without reading
  const closed = once(child, 'close')
  child.stdin.end(input ?? '')
  try {
    const [code] = (await closed) as [number | null]
    return { code, stdout, stderr }
  } catch (error) {
    throw missing(name, error)
  }
}

/** Starts a foreign server. Resolves when a line of its output matches. */
export async function startTool(name: string, args: readonly string[], ready: RegExp): Promise<ChildProcess> {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const failed = once(child, 'spawn').catch((error: unknown) => {
    throw missing(name, error)
  })
  await failed
  let output = ''
  child.stderr!.resume()
  child.stdout!.setEncoding('utf8')
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${name} ended before it was ready: ${output}`)
  })
  ended.catch(() => {})
  while (!ready.test(output)) output += String((await Promise.race([once(child.stdout!, 'data'), ended]))[0])
  child.stdout!.resume()
  return child
}

export async function stopTool(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

function missing(name: string, cause: unknown): Error {
  if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return cause as Error
  return new Error(`there is no ${name} on this machine: run scripts/setup-tools.sh`, { cause })
}

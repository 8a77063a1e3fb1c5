import { connect } from 'node:net'

/** Sends the text and FIN, and resolves to all that comes back. */
export async function ask(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('utf8').end(text)
  let answer = ''
  for await (const chunk of socket) answer += chunk
  return answer
}

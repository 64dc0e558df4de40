// A real SMTP server on a free port, stopped after the test: keeps every mail as it came, and answers as it is told.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { SMTPServer, type SMTPServerSession } from 'smtp-server'
import { onTestFinished } from 'vitest'

export interface ReceivedMail {
  raw: Buffer
  from: string
  to: string[]
  /** Who logged in, if anybody did. */
  user: string | null
}

/** What the server says at each step instead of yes: a code and a text such as "451 later", several lines by "\n". */
export interface Answers {
  greeting?: string
  login?: string
  sender?: string
  /** By address. */
  recipients?: Record<string, string>
  data?: string
}

interface Options {
  answers?: Answers
  /** Takes the connection or the mail and then says nothing any more. */
  silent_at?: 'greeting' | 'data'
  /** The only login that is taken; without one, none is offered. */
  login?: { user: string; pass: string }
  /** Offers STARTTLS, with a certificate that nobody trusts. */
  starttls?: boolean
  pipelining?: boolean
}

export async function startSmtp({ answers = {}, silent_at, login, starttls = false, pipelining = true }: Options = {}) {
  const mails: ReceivedMail[] = []
  const logins: string[] = []
  let sessions = 0
  let silent = false

  const server = new SMTPServer({
    logger: false,
    authOptional: true,
    disabledCommands: [...(starttls ? [] : ['STARTTLS']), ...(login === undefined ? ['AUTH'] : [])],
    allowInsecureAuth: true,
    hidePIPELINING: !pipelining,
    hideENHANCEDSTATUSCODES: true,
    disableReverseLookup: true,
    closeTimeout: 1,
    onConnect(_session, callback) {
      sessions += 1
      silent = silent_at === 'greeting'
      if (!silent) callback(refusal(answers.greeting))
    },
    onAuth({ username = '', password }, _session, callback) {
      logins.push(username)
      if (answers.login !== undefined) return callback(refusal(answers.login))
      if (username !== login?.user || password !== login.pass) return callback(refusal('535 wrong login'))
      callback(null, { user: username })
    },
    onMailFrom: (_address, _session, callback) => callback(refusal(answers.sender)),
    onRcptTo: ({ address }, _session, callback) => callback(refusal(answers.recipients?.[address])),
    async onData(stream, session, callback) {
      const raw = await buffer(stream).catch(() => null)
      silent = silent_at === 'data'
      if (raw === null || silent) return
      if (answers.data === undefined) mails.push({ raw, ...envelopeOf(session) })
      callback(refusal(answers.data))
    },
  })
  // A client that breaks off is part of some tests.
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo

  let stopping: Promise<void> | null = null
  function stop(): Promise<void> {
    stopping ??= new Promise((resolve) => server.close(resolve))
    return stopping
  }
  onTestFinished(stop)

  return {
    host: '127.0.0.1',
    port,
    /** To be changed between two mails. */
    answers,
    mails,
    logins,
    sessions: () => sessions,
    open: () => server.connections.size,
    /** It has come to the step at which it says nothing any more. */
    silent: () => silent,
    stop,
  }
}

function refusal(answer: string | undefined): Error | null {
  if (answer === undefined) return null
  const lines = answer.split('\n').map((line) => line.replace(/^\d{3} /, ''))
  const error = Object.assign(new Error(lines.join()), { responseCode: Number.parseInt(answer, 10) })
  // smtp-server writes a list as an answer of several lines.
  if (lines.length > 1) Object.defineProperty(error, 'message', { value: lines })
  return error
}

function envelopeOf({ envelope: { mailFrom, rcptTo }, user }: SMTPServerSession): Omit<ReceivedMail, 'raw'> {
  return {
    from: mailFrom === false ? '' : mailFrom.address,
    to: rcptTo.map(({ address }) => address),
    user: user ?? null,
  }
}

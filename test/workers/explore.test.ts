import fc from 'fast-check'
import PostalMime from 'postal-mime'
import { test } from 'vitest'
import { NonRetryableError } from '../../src/define-job.js'
import email from '../../workers/email.js'
import { startSmtp } from '../support/smtp.js'

void NonRetryableError
test('explore', async () => {
  const s = await startSmtp()
  const cfg = (email.config as any).parse({ smtp: { host: s.host, port: s.port } })
  const send = async (p: any) => {
    const payload = (email.payload as any).parse({ to: 'a@b.c', ...p })
    await email.run(payload, {
      id: 'x',
      attempt: 1,
      run: 1,
      signal: new AbortController().signal,
      config: cfg,
      resolve: (x: string) => x,
      progress: async () => {},
      log() {},
    })
    const m = s.mails.at(-1)!
    return { raw: m.raw.toString('latin1'), m: await PostalMime.parse(m.raw) }
  }
  for (const body of [
    '',
    'a',
    'a\n',
    'a\n\n',
    '\na',
    'a\rb',
    'a\r\r\nb',
    ' ',
    '  a  \n b ',
    'x'.repeat(2000),
    'é '.repeat(200),
    '.',
    '.\n..\n.',
    'From x\n>From',
    '\ufeffa',
    'a\ud800b',
    '\0',
    'a\x0b\x7f',
    '=20',
    '\u2028',
    'a \n',
    'a\t\n',
    '-- \nsig',
    '\u0085x',
    'ü\rb',
    'ü \n',
    'x'.repeat(80) + ' \n y',
    'x'.repeat(80) + '\rb',
  ]) {
    const { raw, m } = await send({ subject: 'S', body })
    if (m.text !== body)
      console.log(
        'BODY',
        JSON.stringify(body).slice(0, 80),
        '->',
        JSON.stringify(m.text)?.slice(0, 80),
        JSON.stringify(raw.slice(raw.indexOf('\r\n\r\n') - 80)).slice(0, 250),
      )
  }
  for (const subject of [
    '',
    ' ',
    ' a',
    'a ',
    'a  b',
    '=?utf-8?Q?x?=',
    'x'.repeat(998),
    'é'.repeat(900),
    '\ufeffa',
    '\ufeff',
    'a\ud800',
    '\u2028',
    '\u00a0',
    '\u2003a',
    'é ',
    ' é',
    'a é  b ö',
    '日本語'.repeat(100),
    '"quoted"',
    '(c)',
    '😀'.repeat(300),
    '=?',
    'a =?= b',
    '\u200b',
    '\u00ad',
  ]) {
    const { raw, m } = await send({ subject, body: 'b' })
    const sub = raw.match(/^Subject:.*\r\n( .*\r\n)*/m)?.[0]
    if (m.subject !== subject)
      console.log(
        'SUBJ',
        JSON.stringify(subject).slice(0, 80),
        '->',
        JSON.stringify(m.subject)?.slice(0, 80),
        JSON.stringify(sub)?.slice(0, 200),
      )
  }
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  const tricky = [
    bytes,
    Buffer.from('a\nb\rc\r\nd \n\n'),
    Buffer.from('.\n.\r\n'),
    Buffer.alloc(0),
    Buffer.from('x'.repeat(3000)),
    Buffer.from('Subject: x\n\nbody\n'),
  ]
  for (const content_type of [
    undefined,
    'text/plain',
    'text/html',
    'text/csv',
    'message/rfc822',
    'message/delivery-status',
    'application/pdf',
    'image/png',
    'text/calendar',
  ])
    for (const name of ['a.bin', 'a.txt', 'a.eml', 'ünï 日本.txt', 'a\'b"c;d.txt'])
      for (const [i, content] of tricky.entries()) {
        const { raw, m } = await send({
          subject: 'S',
          body: 'b',
          attachments: [{ name, content: content.toString('base64'), content_type }],
        })
        const a = m.attachments[0]
        const got = a && Buffer.from(a.content as ArrayBuffer)
        if (!got?.equals(content) || a?.filename !== name)
          console.log(
            'ATT',
            content_type,
            name,
            i,
            a?.filename,
            a?.mimeType,
            JSON.stringify(got?.toString('latin1'))?.slice(0, 60),
            JSON.stringify(raw.slice(-420)).slice(0, 450),
          )
      }
  let n = 0
  const ok = { text: 0 }
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 200 }),
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.string({
          unit: fc.constantFrom(' ', '.', '=', '\n', 'a', 'é', '\t', '?', '>', '\r\n', 'word ', '😀', '_'),
          maxLength: 300,
        }),
      ),
      async (body) => {
        const { m } = await send({ subject: 'S', body })
        const norm = (t = '') => t.replace(/\r\n?/g, '\n').replace(/\n*$/, '')
        if (norm(m.text) !== norm(body) && n++ < 8)
          console.log('PB', JSON.stringify(norm(body)), '->', JSON.stringify(norm(m.text)))
        else ok.text++
      },
    ),
    { numRuns: 300 },
  )
  n = 0
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 200 }),
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.string({
          unit: fc.constantFrom(' ', '.', '=', 'a', 'é', '?', '>', 'word ', '😀', '_', '=?', '?='),
          maxLength: 300,
        }),
      ),
      async (subject) => {
        if (/\p{Cc}/u.test(subject) || subject.length > 998) return
        const { m } = await send({ subject, body: 'b' })
        if ((m.subject ?? '') !== subject && n++ < 12)
          console.log('PS', JSON.stringify(subject), '->', JSON.stringify(m.subject))
      },
    ),
    { numRuns: 400 },
  )
  console.log(ok)
}, 120000)

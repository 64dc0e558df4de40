// Files that jobs make: seen when the job completes and not before, served whole and in part, gone when they count no more.
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../src/config.js'
import { createLogger } from '../src/log.js'
import { createService } from '../src/service.js'
import { Database } from '../src/store/sqlite/binding.js'
import { inEachPlace, runFolders } from './support/artifact-places.js'
import { shareService, startService } from './support/service.js'
import { until } from './support/until.js'

inEachPlace((place) => {
  async function start(data: object = {}) {
    const service = await startService({ types: ['makes'], config: { data: { ...place.data(), ...data } } })
    return { ...service, kept: () => place.kept(service.folder) }
  }

  const theService = shareService(() => ({ types: ['makes'], config: { data: place.data() } }))

  describe('an artifact', () => {
    test('is listed with its job when that completes, and downloaded as it was written', async () => {
      const { submit, ends, http, kept } = await start()
      const { id } = await submit({
        type: 'makes',
        payload: { files: { 'a.csv': 'x,y\r\n', 'b.bin': 'ü' }, repeat: 3 },
      })
      const job = await ends(id)
      expect(job).toMatchObject({
        status: 'completed',
        artifacts: [
          { name: 'a.csv', bytes: 15, content_type: 'text/csv; charset=utf-8', url: `/jobs/${id}/artifacts/a.csv` },
          { name: 'b.bin', bytes: 6, content_type: 'application/octet-stream', url: `/jobs/${id}/artifacts/b.bin` },
        ],
      })
      const { headers, text } = await http.get(`/jobs/${id}/artifacts/a.csv`).expect(200)
      expect(text).toBe('x,y\r\nx,y\r\nx,y\r\n')
      expect(headers).toMatchObject({
        'content-type': 'text/csv; charset=utf-8',
        'content-length': '15',
        'content-disposition': 'attachment; filename=a.csv',
        'accept-ranges': 'bytes',
        'x-content-type-options': 'nosniff',
      })
      expect(await kept()).toEqual([`${id}.1`])
    })

    test('that is empty is one', async () => {
      const { submit, ends, http } = await theService()
      const { id } = await submit({ type: 'makes', payload: { files: { 'empty.txt': '' } } })
      expect(await ends(id)).toMatchObject({ artifacts: [{ name: 'empty.txt', bytes: 0 }] })
      const { headers, text } = await http.get(`/jobs/${id}/artifacts/empty.txt`).expect(200)
      expect([headers['content-length'], text]).toEqual(['0', ''])
    })

    test.each([
      ['Übersicht Mai.csv', `attachment; filename="?bersicht Mai.csv"; filename*=UTF-8''%C3%9Cbersicht%20Mai.csv`],
      ['売上.csv', `attachment; filename="??.csv"; filename*=UTF-8''%E5%A3%B2%E4%B8%8A.csv`],
      ['a "b"; c=d.txt', String.raw`attachment; filename="a \"b\"; c=d.txt"`],
      ['100%.txt', 'attachment; filename=100%.txt'],
      [`${'n'.repeat(251)}.txt`, `attachment; filename=${'n'.repeat(251)}.txt`],
      ['..hidden', 'attachment; filename=..hidden'],
    ])('may be called %s, and is downloaded under that name', async (name, disposition) => {
      const { submit, ends, http } = await theService()
      const job = await ends((await submit({ type: 'makes', payload: { files: { [name]: 'text' } } })).id)
      const url = String(job.artifacts[0]?.url)
      const { headers, text, body } = await http.get(url).expect(200)
      expect(headers['content-disposition']).toBe(disposition)
      expect(text ?? String(body)).toBe('text')
    })

    test.each(['', '.', '..', 'a/b', 'a\\b', '../../jobs.db', 'a\nb', 'a\0', 'n'.repeat(256), '\ud800'])(
      'must not be called %j',
      async (name) => {
        const { submit, ends } = await theService()
        const job = await ends((await submit({ type: 'makes', payload: { files: { [name]: 'text' } } })).id)
        expect(job).toMatchObject({ status: 'failed', artifacts: [], error: { code: 'artifact_failed' } })
      },
    )

    test('must have a media type for its content type', async () => {
      const { submit, ends } = await theService()
      const payload = { files: { a: 'b' }, content_type: 'text/html\r\nSet-Cookie: a=b' }
      expect(await ends((await submit({ type: 'makes', payload })).id)).toMatchObject({
        error: { code: 'artifact_failed', message: 'content_type must be a media type' },
      })
    })

    test('of a page does not run in this origin', async () => {
      const { submit, ends, http } = await theService()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.html': '<script>alert(1)</script>' } } })
      await ends(id)
      const { headers } = await http.get(`/jobs/${id}/artifacts/a.html`).expect(200)
      expect(headers['content-disposition']).toMatch(/^attachment/)
      expect(headers['content-security-policy']).toContain("default-src 'none'")
    })

    test('is whole also when the handler did not wait for its end', async () => {
      const { submit, ends } = await theService()
      const { id } = await submit({ type: 'makes', payload: { files: {}, at_end: 'not_awaited' } })
      expect(await ends(id)).toMatchObject({ status: 'completed', artifacts: [{ name: 'late.txt', bytes: 100_000 }] })
    })

    test('that was not ended fails its job, since nobody knows whether it is whole', async () => {
      const { submit, ends, kept } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' }, at_end: 'leave_open' } })
      expect(await ends(id)).toMatchObject({
        status: 'failed',
        artifacts: [],
        error: { code: 'artifact_failed', message: expect.stringContaining('"open.txt" was not ended') },
      })
      await until('its files are gone', async () => (await kept()).length === 0)
    })
  })

  describe('files of a run that does not count', () => {
    test.each(['throw', 'exit'])('are never shown and removed when the run ends by %s', async (at_end) => {
      const { submit, ends, http, kept } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' }, at_end } })
      expect(await ends(id)).toMatchObject({ status: 'failed', artifacts: [] })
      const { body } = await http.get(`/jobs/${id}/artifacts/a.txt`).expect(404)
      expect(body).toMatchObject({ code: 'artifact_not_found' })
      await until('its files are gone', async () => (await kept()).length === 0)
    })

    test('are not shown while it goes on, and removed when it is cancelled', async () => {
      const { submit, reaches, http, kept } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' }, at_end: 'wait' } })
      await until('the file is there', async () => (await kept()).length === 1)
      await http.get(`/jobs/${id}/artifacts/a.txt`).expect(404)
      await http.post(`/jobs/${id}/cancel`).expect(202)
      await reaches(id, 'cancelled')
      await until('its files are gone', async () => (await kept()).length === 0)
    })

    test('are removed when the job runs again, whose new files are others', async () => {
      const { submit, ends, http, kept } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' } } })
      await ends(id)
      const before = await http.get(`/jobs/${id}/artifacts/a.txt`).expect(200)
      await http.post(`/jobs/${id}/rerun`).expect(202)
      expect(await ends(id)).toMatchObject({ status: 'completed', artifacts: [{ name: 'a.txt' }] })
      await until('the first run is gone', async () => (await kept()).join() === `${id}.2`)
      const after = await http.get(`/jobs/${id}/artifacts/a.txt`).set('If-None-Match', String(before.headers.etag))
      expect(after.status).toBe(200)
    })

    test('are removed with their job', async () => {
      const { submit, ends, http, kept } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' } } })
      await ends(id)
      expect(await kept()).toHaveLength(1)
      await http.delete(`/jobs/${id}`).expect(204)
      await http.get(`/jobs/${id}`).expect(404)
      await http.get(`/jobs/${id}/artifacts/a.txt`).expect(404)
      await until('its files are gone', async () => (await kept()).length === 0)
      await http.delete(`/jobs/${id}`).expect(404)
    })
  })

  describe('DELETE /jobs/:id', () => {
    test('refuses a job that is not final', async () => {
      const { submit, http, get } = await theService()
      const { id } = await submit({ type: 'greet', delay: 3600 })
      expect((await http.delete(`/jobs/${id}`).expect(409)).body).toMatchObject({ code: 'job_not_final' })
      expect((await get(id)).status).toBe('scheduled')
    })
  })

  describe('a part of an artifact', () => {
    const TEXT = 'abcdefghij'

    async function served() {
      const { submit, ends, http } = await theService()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': TEXT } } })
      await ends(id)
      const url = `/jobs/${id}/artifacts/a.txt`
      const { headers } = await http.get(url)
      return { http, url, etag: String(headers.etag) }
    }

    test.each([
      ['bytes=0-3', 'abcd', 'bytes 0-3/10'],
      ['bytes=4-', 'efghij', 'bytes 4-9/10'],
      ['bytes=-2', 'ij', 'bytes 8-9/10'],
      ['bytes=8-100', 'ij', 'bytes 8-9/10'],
      ['bytes=-5000', TEXT, 'bytes 0-9/10'],
      ['bytes=0-1,2-3', 'abcd', 'bytes 0-3/10'],
    ])('asked for by Range: %s is %s', async (range, text, content_range) => {
      const { http, url } = await served()
      const answer = await http.get(url).set('Range', range).expect(206)
      expect([answer.text, answer.headers['content-range']]).toEqual([text, content_range])
      expect(answer.headers['content-length']).toBe(String(text.length))
    })

    test.each(['bytes=0-1,5-6', 'bytes=x', 'lines=1-2', 'bytes=3-2'])(
      'is not sent for Range: %s, which is answered whole or refused',
      async (range) => {
        const { http, url } = await served()
        const answer = await http.get(url).set('Range', range)
        if (answer.status === 416) expect(answer.headers['content-range']).toBe('bytes */10')
        else expect([answer.status, answer.text]).toEqual([200, TEXT])
      },
    )

    test('that lies behind its end is a 416 that tells the size', async () => {
      const { http, url } = await served()
      const { body, headers } = await http.get(url).set('Range', 'bytes=10-').expect(416)
      expect(body).toMatchObject({ code: 'range_not_satisfiable', status: 416 })
      expect(headers['content-range']).toBe('bytes */10')
    })

    test('is sent under If-Range only of the same version', async () => {
      const { http, url, etag } = await served()
      await http.get(url).set('Range', 'bytes=0-1').set('If-Range', etag).expect(206)
      await http.get(url).set('Range', 'bytes=0-1').set('If-Range', '"another"').expect(200)
    })

    test('is not sent again to a client that has it', async () => {
      const { http, url, etag } = await served()
      for (const known of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
        const { text } = await http.get(url).set('If-None-Match', known).expect(304)
        expect(text).toBe('')
      }
      await http.get(url).set('If-None-Match', '"x"').expect(200)
    })

    test('is told by HEAD without the bytes', async () => {
      const { http, url } = await served()
      const { headers, text } = await http.head(url).expect(200)
      expect([headers['content-length'], text]).toEqual(['10', undefined])
    })
  })

  describe('files that are not what they should be', () => {
    test('a file that is missing is an error that a client can read', async () => {
      const { submit, ends, http, folder } = await start()
      const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'a' } } })
      await ends(id)
      await place.lose(folder, id)
      expect((await http.get(`/jobs/${id}/artifacts/a.txt`).expect(500)).body).toMatchObject({ code: 'internal_error' })
    })

    test('a stream that was destroyed after its end is no artifact', async () => {
      const { submit, ends } = await theService()
      const { id } = await submit({ type: 'makes', payload: { files: {}, at_end: 'destroy' } })
      expect(await ends(id)).toMatchObject({ status: 'failed', artifacts: [], error: { code: 'artifact_failed' } })
    })

    test('many files that are written at once share the quota without losing any of it', async () => {
      const { submit, ends } = await start({ artifacts: { max_bytes: 9_000_000 } })
      const { id } = await submit({ type: 'makes', payload: { files: {}, at_end: 'at_once' } })
      const job = await ends(id)
      expect([job.status, job.artifacts.length]).toEqual(['completed', 8])
    })
  })

  describe('the quota', () => {
    test('of one job fails the job that goes over it, and no other', async () => {
      const { submit, ends, kept } = await start({ artifacts: { max_bytes: 100_000 } })
      const over = await submit({ type: 'makes', payload: { files: { 'a.txt': 'x'.repeat(1_000) }, repeat: 101 } })
      expect(await ends(over.id)).toMatchObject({
        status: 'failed',
        error: { code: 'artifact_too_large', message: expect.stringContaining('quota') },
      })
      const within = await submit({ type: 'makes', payload: { files: { 'a.txt': 'x'.repeat(1_000) }, repeat: 100 } })
      expect(await ends(within.id)).toMatchObject({ status: 'completed', artifacts: [{ bytes: 100_000 }] })
      await until('the files of the failed job are gone', async () => (await kept()).length === 1)
    })

    test('of all jobs has room again when one of them is removed', async () => {
      const { submit, ends, http } = await start({ max_bytes: 250_000 })
      const make = async () =>
        ends((await submit({ type: 'makes', payload: { files: { a: 'x'.repeat(1_000) }, repeat: 100 } })).id)
      const first = await make()
      expect(first.status).toBe('completed')
      expect((await make()).status).toBe('completed')
      expect(await make()).toMatchObject({ status: 'failed', error: { code: 'artifact_too_large' } })
      await http.delete(`/jobs/${first.id}`).expect(204)
      expect((await make()).status).toBe('completed')
    })
  })
})

test('what a crash left behind is removed after the next start, and nothing else', async () => {
  const { submit, ends, service, folder, path } = await startService({ types: ['makes'] })
  const { id } = await submit({ type: 'makes', payload: { files: { 'a.txt': 'kept' } } })
  await ends(id)
  await service.stop()
  const root = path('data/artifacts')
  const kept = join(root, id.slice(-2), `${id}.1`)
  const strange = join(root, id.slice(-2), 'a folder of somebody else')
  for (const copy of [
    join(root, id.slice(-2), `${id}.7`),
    join(root, 'ff', '019a2b3c-0000-7000-8000-0000000000ff.1'),
    strange,
  ])
    cpSync(kept, copy, { recursive: true })
  const log = createLogger({ write: () => {} })
  const again = await createService(loadConfig({ cwd: folder, env: {} }), { log })
  onTestFinished(async () => void (await again.stop()))
  await again.start()
  await until('it is swept', () => runFolders(folder).length === 2)
  expect([existsSync(strange), readFileSync(join(kept, '0'), 'utf8')]).toEqual([true, 'kept'])
})

test('an export that meets the quota in the middle of its rows says so, and is not tried again', async () => {
  const query = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n'
  const { submit, ends, path } = await startService({
    config: {
      data: { artifacts: { max_bytes: 200_000 } },
      jobs: { export: { sources: { numbers: { driver: 'sqlite3', source: 'numbers.db', query } } } },
    },
  })
  new Database(path('numbers.db')).exec('CREATE TABLE t (a)').close()
  const { id } = await submit({ type: 'export', payload: { format: 'csv', source: 'numbers' } })
  expect(await ends(id)).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'artifact_too_large' } })
})

// POST /workers/pause and /resume: what waits stays where it is, what runs goes on.
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'

describe('a pause', () => {
  test('of a type lets its jobs wait and others run; resumed, they run at once', async () => {
    // A poll that never comes: only the resume itself can wake the dispatcher.
    const { http, submit, ends, get } = await startService({
      types: ['returns_nothing'],
      config: { worker: { poll: '60s' } },
    })
    expect((await http.post('/workers/pause').send({ type: 'greet' }).expect(200)).body).toEqual({
      paused: false,
      paused_types: ['greet'],
    })
    const waiting = await submit({ type: 'greet', payload: { name: 'a' } })
    await ends((await submit({ type: 'returns_nothing' })).id)
    expect(await get(waiting.id)).toMatchObject({ status: 'pending' })
    const { types } = (await http.get('/types')).body
    const paused = types.filter(({ paused }: { paused: boolean }) => paused).map(({ name }: { name: string }) => name)
    expect(paused).toEqual(['greet'])
    await http.post('/workers/resume').send({ type: 'greet' }).expect(200)
    expect(await ends(waiting.id)).toMatchObject({ status: 'completed' })
  })

  test('of all is told by the statistics, and lets what runs end', async () => {
    const { http, submit, reaches, ends, get } = await startService()
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    expect((await http.post('/workers/pause').expect(200)).body).toEqual({ paused: true, paused_types: [] })
    expect((await http.get('/workers/stats')).body).toMatchObject({ paused: true, paused_types: [], active_workers: 1 })
    const waiting = await submit({ type: 'greet' })
    await http.post(`/jobs/${running.id}/cancel`).expect(202)
    await ends(running.id)
    expect(await get(waiting.id)).toMatchObject({ status: 'pending' })
    await http.post('/workers/resume').send({}).expect(200)
    await ends(waiting.id)
  })

  test('survives a restart', async () => {
    const folder = freshFolder({ ...typeFiles(['greet']), 'config.yaml': { worker: { types: ['types'] } } })
    const first = await startProcess(folder)
    await first.call('POST', '/workers/pause', { type: 'greet' })
    const { id } = await first.submit({ type: 'greet' })
    await first.kill('SIGTERM')
    const second = await startProcess(folder)
    expect((await second.call('GET', '/workers/stats')).body).toMatchObject({ paused_types: ['greet'], queued_jobs: 1 })
    await second.call('POST', '/workers/resume', { type: 'greet' })
    await second.reaches(id, 'completed')
  })

  test.each([
    [{ type: 'gret' }, 'unknown_type', '/type'],
    [{ type: 5 }, 'invalid_request', '/type'],
    [{ types: ['greet'] }, 'invalid_request', '/types'],
    [[], 'invalid_request', ''],
  ])('of %j is a 422', async (body, code, pointer) => {
    const { http } = await startService()
    const answer = await http.post('/workers/pause').send(body).expect(422)
    expect(answer.body).toMatchObject({ code, errors: [{ pointer }] })
  })
})

#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/mem.h"

struct job {
  struct job *next;
  loop_fn *work, *done;
  void *context;
};

struct pool {
  struct loop *loop;
  pthread_mutex_t lock; /* guards the queue and stopping; never held while calling out */
  pthread_cond_t changed;
  struct job *first, **last;
  bool stopping;
  unsigned threads;
  pthread_t *ids; /* joined by pool_destroy */
};

static struct job *take_job(struct pool *p) {
  struct job *job = p->first;
  p->first = job->next;
  if (!p->first) p->last = &p->first;
  return job;
}

static void *worker(void *argument) {
  struct pool *p = argument;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    while (!p->first && !p->stopping) pthread_cond_wait(&p->changed, &p->lock);
    if (p->stopping) break;
    struct job *job = take_job(p);
    pthread_mutex_unlock(&p->lock);
    job->work(job->context);
    loop_post(p->loop, job->done, job->context);
    free(job);
    pthread_mutex_lock(&p->lock);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

enum err pool_create(struct pool **out, struct loop *loop, unsigned threads, struct error *e) {
  struct pool *p = mem_alloc(sizeof(*p));
  p->loop = loop;
  p->last = &p->first;
  p->ids = mem_array(threads, sizeof(*p->ids));
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->changed, NULL);
  /* Signals belong to the thread that runs the loop. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int fault = 0;
  while (p->threads < threads && !fault) {
    fault = pthread_create(&p->ids[p->threads], NULL, worker, p);
    if (!fault) p->threads++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (fault) {
    pool_destroy(&p);
    return error_errno(e, fault, "cannot start worker threads");
  }
  *out = p;
  return ERR_OK;
}

void pool_destroy(struct pool **address) {
  struct pool *p = address ? *address : NULL;
  if (!p) return;
  *address = NULL;
  pthread_mutex_lock(&p->lock);
  p->stopping = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 0; i < p->threads; i++) pthread_join(p->ids[i], NULL);
  while (p->first) {
    struct job *job = take_job(p);
    loop_post(p->loop, job->done, job->context);
    free(job);
  }
  pthread_cond_destroy(&p->changed);
  pthread_mutex_destroy(&p->lock);
  free(p->ids);
  free(p);
}

void pool_submit(struct pool *p, loop_fn *work, loop_fn *done, void *context) {
  struct job *job = mem_alloc(sizeof(*job));
  *job = (struct job){NULL, work, done, context};
  pthread_mutex_lock(&p->lock);
  *p->last = job;
  p->last = &job->next;
  pthread_cond_signal(&p->changed);
  pthread_mutex_unlock(&p->lock);
}

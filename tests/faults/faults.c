/* A library to be preloaded (LD_PRELOAD) that makes system functions fail for a program, at a chosen moment: the n-th
 * allocation, creation of a thread, read, write, fsync, rename, open, mmap, or any of these and similar calls, once or
 * from then on; or that kills the program at that moment, as kill -9 would. It needs no privileges.
 *
 * Allocations and thread creation are intercepted by functions in front of libc's. System calls are intercepted where
 * they enter the kernel (a seccomp filter traps them, and a SIGSYS handler makes the call or refuses it), so that those
 * inside libc count as well. Counting begins with main(). Writing to standard error is neither counted nor made to
 * fail, because a program could not report errors otherwise.
 *
 * The program becomes a server of itself, which saves loading it each time. At the entry of main() it reads orders from
 * descriptor FAULTS_ORDERS and forks a child for each, which continues into main(), and answers on FAULTS_ANSWERS: see
 * faults.h. Linux on x86-64.
 *
 * To examine one fault with a debugger, without a server: FAULTS_ORDER="KIND ACTION N", with the numbers of faults.h:
 *   gdb -ex 'set environment LD_PRELOAD build/release/tests/faults/libsparsenet_faults.so' \
 *       -ex 'set environment FAULTS_ORDER 0 1 4250' -ex 'set startup-with-shell off' \
 *       -ex 'handle SIGSYS nostop noprint pass' -ex run -ex backtrace --args sparsenet info net.snet */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct faults_order order;
static struct faults_counts* counts; /* shared with the server */
static atomic_int active;

/* ---- the one decision ------------------------------------------------------------------------------------------- */

enum verdict { GO_ON, FAIL, SHORTEN, INTERRUPT };

static long pass(long nr, long a, long b, long c, long d, long e, long f);

static enum verdict count(enum faults_kind kind) {
  if (!atomic_load_explicit(&active, memory_order_relaxed)) return GO_ON;
  const long n = __atomic_fetch_add(&counts->calls[kind], 1, __ATOMIC_RELAXED) + 1;
  if ((int)kind != order.kind || order.action == FAULTS_NONE) return GO_ON;
  if (n < order.n || (n > order.n && order.action != FAULTS_FROM_THEN_ON)) return GO_ON;
  __atomic_fetch_add(&counts->hits, 1, __ATOMIC_RELAXED);
  switch (order.action) {
    case FAULTS_KILL:
      pass(SYS_kill, pass(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
      return FAIL;
    case FAULTS_SHORT:
      return SHORTEN;
    case FAULTS_INTERRUPTED:
      return INTERRUPT;
    default:
      return FAIL;
  }
}

/* ---- system calls ----------------------------------------------------------------------------------------------- */

/* The only place from which the filter lets the calls below through. */
__asm__(
    ".text\n"
    ".type faults_gate, @function\n"
    "faults_gate:\n"
    "  mov %rdi, %rax\n"
    "  mov %rsi, %rdi\n"
    "  mov %rdx, %rsi\n"
    "  mov %rcx, %rdx\n"
    "  mov %r8, %r10\n"
    "  mov %r9, %r8\n"
    "  mov 8(%rsp), %r9\n"
    "  syscall\n"
    "faults_gate_end:\n"
    "  ret\n");
extern long faults_gate(long nr, long a, long b, long c, long d, long e, long f) __attribute__((visibility("hidden")));
extern const char faults_gate_end[] __attribute__((visibility("hidden")));

static long pass(long nr, long a, long b, long c, long d, long e, long f) {
  return faults_gate(nr, a, b, c, d, e, f);
}

struct row {
  int nr;
  enum faults_kind kind;
  int error;
};
static const struct row kRows[] = {
    {SYS_read, FAULTS_READ, EIO},         {SYS_pread64, FAULTS_READ, EIO},
    {SYS_readv, FAULTS_READ, EIO},        {SYS_write, FAULTS_WRITE, ENOSPC},
    {SYS_pwrite64, FAULTS_WRITE, ENOSPC}, {SYS_writev, FAULTS_WRITE, ENOSPC},
    {SYS_fsync, FAULTS_FSYNC, EIO},       {SYS_fdatasync, FAULTS_FSYNC, EIO},
    {SYS_rename, FAULTS_RENAME, EIO},     {SYS_renameat, FAULTS_RENAME, EIO},
    {SYS_renameat2, FAULTS_RENAME, EIO},  {SYS_open, FAULTS_OPEN, EMFILE},
    {SYS_openat, FAULTS_OPEN, EMFILE},    {SYS_mmap, FAULTS_MMAP, ENOMEM},
    {SYS_stat, FAULTS_STAT, EIO},         {SYS_fstat, FAULTS_STAT, EIO},
    {SYS_lstat, FAULTS_STAT, EIO},        {SYS_newfstatat, FAULTS_STAT, EIO},
    {SYS_statx, FAULTS_STAT, EIO},        {SYS_unlink, FAULTS_OTHER, EIO},
    {SYS_unlinkat, FAULTS_OTHER, EIO},    {SYS_flock, FAULTS_OTHER, ENOLCK},
    {SYS_ftruncate, FAULTS_OTHER, EIO},   {SYS_fchmod, FAULTS_OTHER, EPERM},
    {SYS_lseek, FAULTS_OTHER, EIO},       {SYS_getdents64, FAULTS_OTHER, EIO},
    {SYS_readlink, FAULTS_OTHER, EIO},    {SYS_getrandom, FAULTS_OTHER, EAGAIN},
    {SYS_mkdir, FAULTS_OTHER, ENOSPC},    {SYS_access, FAULTS_OTHER, EACCES},
    {SYS_mprotect, FAULTS_OTHER, ENOMEM}, {SYS_fcntl, FAULTS_OTHER, EMFILE},
    {SYS_getcwd, FAULTS_OTHER, ENOENT},   {SYS_brk, FAULTS_OTHER, 0},
};
enum { kRowCount = sizeof kRows / sizeof kRows[0] };

static const struct row* row_of(int nr) {
  for (int i = 0; i < kRowCount; ++i) {
    if (kRows[i].nr == nr) return &kRows[i];
  }
  return NULL;
}

static void on_trap(int signal, siginfo_t* info, void* context) {
  (void)signal;
  greg_t* const g = ((ucontext_t*)context)->uc_mcontext.gregs;
  const struct row* const row = row_of(info->si_syscall);
  long third = g[REG_RDX];
  enum verdict verdict = GO_ON;
  const int said = info->si_syscall == SYS_write && g[REG_RDI] == STDERR_FILENO;
  if (row != NULL && !said) {
    verdict = count(row->kind);
    const enum verdict any = count(FAULTS_ANY_CALL);
    if (any != GO_ON) verdict = any;
  }
  const int moves_bytes = row != NULL && (row->kind == FAULTS_READ || row->kind == FAULTS_WRITE);
  if (verdict == FAIL) {
    /* brk() fails by returning the present end. */
    g[REG_RAX] = info->si_syscall == SYS_brk ? pass(SYS_brk, 0, 0, 0, 0, 0, 0) : -(long)row->error;
    return;
  }
  /* Standard output is written by libc, and none of our signals interrupts that (SA_RESTART). */
  const int printed = info->si_syscall == SYS_write && g[REG_RDI] == STDOUT_FILENO;
  if (verdict == INTERRUPT && !printed && (moves_bytes || info->si_syscall == SYS_flock)) {
    g[REG_RAX] = -EINTR;
    return;
  }
  const int vector = info->si_syscall == SYS_readv || info->si_syscall == SYS_writev;
  if (verdict == SHORTEN && moves_bytes && third > 1) third = vector ? 1 : third / 2;
  g[REG_RAX] = pass(info->si_syscall, g[REG_RDI], g[REG_RSI], third, g[REG_R10], g[REG_R8], g[REG_R9]);
}

/* False if this kernel or its administrator does not allow it. */
static int trap_calls(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  if (sigaction(SIGSYS, &action, NULL) != 0) return 0;
  const uint64_t gate = (uint64_t)(uintptr_t)faults_gate_end;
  struct sock_filter filter[kRowCount + 9];
  unsigned at = 0;
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define JUMP_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
  filter[at++] = (struct sock_filter)LOAD(instruction_pointer);
  filter[at++] = (struct sock_filter)JUMP_EQUAL((uint32_t)gate, 0, 3);
  filter[at++] = (struct sock_filter)LOAD_HIGH(instruction_pointer);
  filter[at++] = (struct sock_filter)JUMP_EQUAL((uint32_t)(gate >> 32), 0, 1);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[at++] = (struct sock_filter)LOAD(nr);
  for (int i = 0; i < kRowCount; ++i) {
    const unsigned char to_trap = (unsigned char)(kRowCount - i);
    filter[at++] = (struct sock_filter)JUMP_EQUAL((uint32_t)kRows[i].nr, to_trap, 0);
  }
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
  const struct sock_fprog program = {(unsigned short)at, filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* ---- allocations and threads ------------------------------------------------------------------------------------ */

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static int admit(void) {
  if (count(FAULTS_ALLOCATION) == GO_ON) return 1;
  errno = ENOMEM;
  return 0;
}

EXPORT void* malloc(size_t size) {
  return admit() ? __libc_malloc(size) : NULL;
}
EXPORT void* calloc(size_t number, size_t size) {
  return admit() ? __libc_calloc(number, size) : NULL;
}
EXPORT void* realloc(void* p, size_t size) {
  return admit() ? __libc_realloc(p, size) : NULL;
}
EXPORT void* memalign(size_t alignment, size_t size) {
  return admit() ? __libc_memalign(alignment, size) : NULL;
}
EXPORT void* aligned_alloc(size_t alignment, size_t size) {
  return admit() ? __libc_memalign(alignment, size) : NULL;
}
EXPORT int posix_memalign(void** out, size_t alignment, size_t size) {
  void* const p = admit() ? __libc_memalign(alignment, size) : NULL;
  if (p == NULL) return ENOMEM;
  *out = p;
  return 0;
}

typedef int (*create_thread)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

EXPORT int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  static create_thread next;
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_create");
  if (count(FAULTS_THREAD) != GO_ON) return EAGAIN;
  return next(thread, attributes, start, argument);
}

/* ---- the server ------------------------------------------------------------------------------------------------- */

typedef int (*main_function)(int, char**, char**);
static main_function real_main;

static int read_order(int from) {
  size_t got = 0;
  while (got < sizeof order) {
    const ssize_t more = read(from, (char*)&order + got, sizeof order - got);
    if (more <= 0) return 0;
    got += (size_t)more;
  }
  return 1;
}

static void answer(int to, int value) {
  if (write(to, &value, sizeof value) != (ssize_t)sizeof value) _exit(0);
}

static int serve_then_main(int argc, char** argv, char** environment) {
  const char* const from_text = getenv("FAULTS_ORDERS");
  const char* const to_text = getenv("FAULTS_ANSWERS");
  const char* const page = getenv("FAULTS_COUNTS");
  const char* const single = getenv("FAULTS_ORDER");
  if (single != NULL) {
    static struct faults_counts own;
    counts = &own;
    if (sscanf(single, "%d %d %ld", &order.kind, &order.action, &order.n) != 3 || !trap_calls()) return 125;
    atomic_store(&active, 1);
  }
  if (from_text == NULL || to_text == NULL || page == NULL) return real_main(argc, argv, environment);
  const int from = atoi(from_text), to = atoi(to_text), shared = atoi(page);
  counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
  if (counts == MAP_FAILED) _exit(125);
  while (read_order(from)) {
    const pid_t child = fork();
    if (child == 0) {
      close(from);
      close(to);
      close(shared);
      /* As after a fresh start. */
      const int out = open("stdout.txt", O_WRONLY | O_CREAT | O_TRUNC, 0600);
      const int err = open("stderr.txt", O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(out, 1);
      dup2(err, 2);
      close(out);
      close(err);
      if (!trap_calls()) _exit(FAULTS_NOT_PERMITTED);
      atomic_store(&active, 1);
      return real_main(argc, argv, environment);
    }
    answer(to, (int)child);
    int state = 0;
    if (child > 0) waitpid(child, &state, 0);
    answer(to, state);
  }
  _exit(0);
}

typedef int (*start_main)(main_function, int, char**, void (*)(void), void (*)(void), void (*)(void), void*);

EXPORT int __libc_start_main(main_function function, int argc, char** argv, void (*init)(void), void (*fini)(void),
                             void (*rtld_fini)(void), void* stack_end) {
  start_main next;
  *(void**)&next = dlsym(RTLD_NEXT, "__libc_start_main");
  real_main = function;
  return next(serve_then_main, argc, argv, init, fini, rtld_fini, stack_end);
}

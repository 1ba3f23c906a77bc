/* The orders of a test to the preloaded library (faults.c), and its answers. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

enum faults_kind {
  FAULTS_ALLOCATION, /* malloc and similar functions, and so operator new */
  FAULTS_THREAD,     /* pthread_create */
  FAULTS_READ,
  FAULTS_WRITE,
  FAULTS_FSYNC,
  FAULTS_RENAME,
  FAULTS_OPEN,
  FAULTS_MMAP,
  FAULTS_STAT,
  FAULTS_OTHER,    /* flock, unlink, lseek, getdents and so on */
  FAULTS_ANY_CALL, /* any of the system calls above */
  FAULTS_KINDS
};

enum faults_action {
  FAULTS_NONE, /* only count */
  FAULTS_ONCE,
  FAULTS_FROM_THEN_ON,
  FAULTS_KILL,       /* kills the process instead of making the call */
  FAULTS_SHORT,      /* a read or write of half the bytes, once */
  FAULTS_INTERRUPTED /* EINTR from a read, write or lock, once */
};

/* Written to FAULTS_ORDERS; the answers are the child's process id and then the status from waitpid(), an int each. */
struct faults_order {
  int kind, action;
  long n; /* the first call is 1 */
};

/* In shared memory, at descriptor FAULTS_COUNTS. */
struct faults_counts {
  long calls[FAULTS_KINDS];
  long hits; /* how often the order was carried out */
};

enum { FAULTS_NOT_PERMITTED = 119 }; /* exit code: system calls cannot be trapped here */

#ifdef __cplusplus
}
#endif

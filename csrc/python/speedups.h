/* Parts of the package's Python that run between kernels at each call, written in C once more: retrograd/_speedups.

They know of tensors and programs no more than they are given, and stay within Python's stable interface. */

#ifndef RETROGRAD_SPEEDUPS_H
#define RETROGRAD_SPEEDUPS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* What each thread has of its own: see ThreadState in retrograd/tape.py. */
typedef struct {
    bool pauses;                 /* it does not record */
    bool running;                /* a compiled step's program, or holds the place to */
    PyObject *kernels, *carrier; /* NULL for those in force, and for none */
} rg_thread_state;

extern _Thread_local rg_thread_state rg_this_thread;

/* Add the types to the module: 0, or -1 with an exception. */
int rg_add_thread_state(PyObject *module);
int rg_add_fast_path(PyObject *module);

/* Put an object, whose reference it takes, in place of another. */
static inline void rg_replace(PyObject **place, PyObject *owned)
{
    PyObject *before = *place;
    *place = owned;
    Py_XDECREF(before);
}

/* Make a type, and add it to the module; a reference that the caller may keep, or NULL. */
PyObject *rg_add_type(PyObject *module, PyType_Spec *spec, const char *name);

#endif

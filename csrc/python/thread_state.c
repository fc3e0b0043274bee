/* ThreadState of retrograd/tape.py. Ops look at it several times each, and threading.local takes three times as long.

A thread that ends amid a block that sets its kernels or its carrier leaves a reference to those behind. */

#include "speedups.h"

_Thread_local rg_thread_state rg_this_thread;

typedef struct {
    PyObject_HEAD
    PyObject *active;
} thread_state;

static PyObject *shown(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

/* Whether an attribute is set to something true; -1 with an exception. */
static int truth_of(PyObject *value)
{
    if (value)
        return PyObject_IsTrue(value);
    PyErr_SetString(PyExc_AttributeError, "ThreadState: its attributes cannot be deleted");
    return -1;
}

static PyObject *get_recording(thread_state *self, void *unused)
{
    (void)self, (void)unused;
    return shown(rg_this_thread.pauses ? Py_False : Py_True);
}

static int set_recording(thread_state *self, PyObject *value, void *unused)
{
    (void)self, (void)unused;
    int truth = truth_of(value);
    if (truth >= 0)
        rg_this_thread.pauses = !truth;
    return truth < 0 ? -1 : 0;
}

static PyObject *get_running(thread_state *self, void *unused)
{
    (void)self, (void)unused;
    return shown(rg_this_thread.running ? Py_True : Py_False);
}

static int set_running(thread_state *self, PyObject *value, void *unused)
{
    (void)self, (void)unused;
    int truth = truth_of(value);
    if (truth >= 0)
        rg_this_thread.running = truth;
    return truth < 0 ? -1 : 0;
}

static PyObject *get_kernels(thread_state *self, void *unused)
{
    (void)unused;
    return shown(rg_this_thread.kernels ? rg_this_thread.kernels : self->active);
}

static PyObject *get_carrier(thread_state *self, void *unused)
{
    (void)self, (void)unused;
    return shown(rg_this_thread.carrier ? rg_this_thread.carrier : Py_None);
}

static int set(PyObject **place, PyObject *value, PyObject *usual)
{
    if (value == usual)
        value = NULL;
    Py_XINCREF(value);
    rg_replace(place, value);
    return 0;
}

static int set_kernels(thread_state *self, PyObject *value, void *unused)
{
    (void)unused;
    return set(&rg_this_thread.kernels, value, self->active);
}

static int set_carrier(thread_state *self, PyObject *value, void *unused)
{
    (void)self, (void)unused;
    return set(&rg_this_thread.carrier, value, Py_None);
}

static PyObject *thread_state_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *active;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O", &active))
        return NULL;
    thread_state *self = (thread_state *)PyType_GenericAlloc(type, 0);
    if (self)
        self->active = shown(active);
    return (PyObject *)self;
}

static void thread_state_dealloc(thread_state *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->active);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyGetSetDef attributes[] = {
    {"recording", (getter)get_recording, (setter)set_recording, NULL, NULL},
    {"running", (getter)get_running, (setter)set_running, NULL, NULL},
    {"kernels", (getter)get_kernels, (setter)set_kernels, NULL, NULL},
    {"carrier", (getter)get_carrier, (setter)set_carrier, NULL, NULL},
    {0},
};
static PyType_Slot slots[] = {
    {Py_tp_new, thread_state_new},
    {Py_tp_dealloc, thread_state_dealloc},
    {Py_tp_getset, attributes},
    {0, NULL},
};
static PyType_Spec spec = {"retrograd._speedups.ThreadState", sizeof(thread_state), 0, Py_TPFLAGS_DEFAULT, slots};

int rg_add_thread_state(PyObject *module)
{
    PyObject *type = rg_add_type(module, &spec, "ThreadState");
    Py_XDECREF(type);
    return type ? 0 : -1;
}

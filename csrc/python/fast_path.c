/* FastPath and Caller of retrograd/program/fast_path.py, which says what they are for and what they are given.

A small network's program runs for less than a microsecond, and each look of Python at something takes a twentieth of
one. */

#include "speedups.h"

#include <structmember.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <stddef.h>
#include <string.h>

/* ---- FastPath */

/* What it is made of, by the names of its arguments, beside `count` and `recording`. The first are tuples. */
#define TUPLES(X)                                                                                                      \
    X(items) X(cells) X(attributes) X(gradients) X(there) X(shown) X(forms) X(asks) X(places) X(slots)
#define OTHERS(X)                                                                                                      \
    X(missed) X(revision) X(valid) X(take_turn) X(give_turn) X(inputs) X(written) X(readable) X(run) X(entry) X(changes) \
    X(build) X(tensor) X(counter) X(count_changes)

enum {
#define NUMBER(name) name,
    TUPLES(NUMBER) tuples,
    before_others = tuples - 1,
    OTHERS(NUMBER) given,
#undef NUMBER
    seen = given, /* what `revision` held when all was last found as it was */
    current,      /* the entry, and what `changes` held when it was asked for */
    asked,
    parts
};

/* The objects of a tuple. */
typedef struct {
    Py_ssize_t size;
    PyObject **at;
} row;

typedef struct {
    PyObject_HEAD
    PyObject *part[parts];
    row of[tuples];
    Py_ssize_t count;
    descrgetfunc get_slot, get_cell; /* what an attribute's descriptor calls */
    descrsetfunc set_slot;
    PyObject *gradient, *requires_grad, *contents, *zero;
    int64_t (*function)(void *step); /* of the entry, with what it takes and where that has the inputs' addresses */
    void *step, **addresses;
    long long finished; /* the place in the order of recording where the latest call ended */
    bool pauses;
} fast_path;

static struct {
    PyObject *array, *function, *step, *addresses, *call_otherwise;
} names;

static PyTypeObject *fast_path_type;

static PyObject *new_reference(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static bool same_items(row threes)
{
    for (Py_ssize_t n = 0; n < threes.size; n += 3)
        if (PyDict_GetItemWithError(threes.at[n], threes.at[n + 1]) != threes.at[n + 2]) {
            PyErr_Clear();
            return false;
        }
    return true;
}

/* What an attribute is, to be compared only: it is not held. NULL, without an exception, where there is none. */
static const PyObject *look(descrgetfunc get, PyObject *descriptor, PyObject *object)
{
    PyObject *now = get(descriptor, object, (PyObject *)Py_TYPE(object));
    if (!now)
        PyErr_Clear();
    Py_XDECREF(now);
    return now;
}

static bool same_cells(const fast_path *self)
{
    const row pairs = self->of[cells];
    for (Py_ssize_t n = 0; n < pairs.size; n += 2)
        if (look(self->get_cell, self->contents, pairs.at[n]) != pairs.at[n + 1])
            return false;
    return true;
}

static bool same_attributes(row threes)
{
    for (Py_ssize_t n = 0; n < threes.size; n += 3) {
        PyObject *now = PyObject_GetAttr(threes.at[n], threes.at[n + 1]);
        if (!now)
            PyErr_Clear();
        Py_XDECREF(now);
        if (now != threes.at[n + 2])
            return false;
    }
    return true;
}

static bool same_gradients(const fast_path *self)
{
    const row pairs = self->of[gradients], leaves = self->of[there];
    for (Py_ssize_t n = 0; n < pairs.size; n += 2)
        if (look(self->get_slot, self->gradient, pairs.at[n]) != pairs.at[n + 1])
            return false;
    for (Py_ssize_t n = 0; n < leaves.size; n++) {
        const PyObject *now = look(self->get_slot, self->gradient, leaves.at[n]);
        if (!now || now == Py_None)
            return false;
    }
    return true;
}

/* Whether the plan is good: 1, 0, or -1 with an exception. */
static int is_valid(fast_path *self)
{
    PyObject *now = PyList_GetItem(self->part[revision], 0);
    if (!now)
        return -1;
    Py_INCREF(now);
    if (now == self->part[seen] && same_items(self->of[items]) && same_cells(self) &&
        same_attributes(self->of[attributes]) && same_gradients(self)) {
        Py_DECREF(now);
        return 1;
    }
    PyObject *answer = PyObject_CallNoArgs(self->part[valid]);
    int good = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (good == 1)
        rg_replace(&self->part[seen], now);
    else
        Py_DECREF(now);
    return good;
}

/* The array of an argument, which requires a gradient or not, as a new reference; NULL without an exception where it has none
 * that is plain. */
static PyObject *array_of(const fast_path *self, PyObject *argument, PyObject *requires)
{
    PyTypeObject *type = Py_TYPE(argument), *of_tensors = (PyTypeObject *)self->part[tensor];
    if (PyArray_CheckExact(argument))
        return requires == Py_False ? new_reference(argument) : NULL;
    PyObject *array = NULL;
    if (!PyType_IsSubtype(type, of_tensors) || look(self->get_slot, self->requires_grad, argument) != requires)
        return NULL;
    if (type == of_tensors)
        array = self->get_slot(self->of[slots].at[0], argument, (PyObject *)type);
    else
        array = PyObject_GetAttr(argument, names.array);
    if (array && PyArray_CheckExact(array))
        return array;
    Py_XDECREF(array);
    PyErr_Clear();
    return NULL;
}

/* Whether an array has another's shape and dtype. */
static bool fits(PyArrayObject *a, PyArrayObject *like)
{
    if (PyArray_NDIM(a) != PyArray_NDIM(like) ||
        (PyArray_DESCR(a) != PyArray_DESCR(like) && !PyArray_EquivTypes(PyArray_DESCR(a), PyArray_DESCR(like))))
        return false;
    for (int axis = 0; axis < PyArray_NDIM(a); axis++)
        if (PyArray_DIM(a, axis) != PyArray_DIM(like, axis))
            return false;
    return true;
}

static int contains(PyObject *set, void *object)
{
    PyObject *id = PyLong_FromVoidPtr(object);
    int found = id ? PySet_Contains(set, id) : -1;
    Py_XDECREF(id);
    return found;
}

/* What the program reads for an array, whose reference it takes, as a new one: itself, or what readable() makes of one that
 * is none of ours to judge, or changed by the program. */
static PyObject *as_it_lies(const fast_path *self, PyObject *array)
{
    PyObject *of = array;
    int changed = !PyArray_ISCARRAY((PyArrayObject *)array);
    for (; changed == 0 && of && PyArray_Check(of); of = PyArray_BASE((PyArrayObject *)of))
        changed = contains(self->part[written], of);
    if (changed == 0 && of) /* memory that is not NumPy's */
        changed = 1;
    if (changed == 0)
        return array;
    PyObject *read = changed < 0 ? NULL : PyObject_CallFunctionObjArgs(self->part[readable], array, NULL);
    Py_DECREF(array);
    return read;
}

/* The inputs of a call with these arguments, as a new reference to a list: the latest, or another. NULL where they do
 * not fit the plan, or with an exception. */
static PyObject *inputs_of(const fast_path *self, PyObject *arguments)
{
    PyObject *latest = new_reference(self->part[inputs]); /* which Python below may replace */
    PyObject *list = new_reference(latest);
    for (Py_ssize_t n = 0; n < self->count; n++) {
        PyObject *array = array_of(self, PyTuple_GetItem(arguments, n), self->of[asks].at[n]);
        PyObject *before = PyList_GetItem(latest, n);
        bool good = array && before && fits((PyArrayObject *)array, (PyArrayObject *)self->of[forms].at[n]);
        if (good && array == before && PyArray_ISCARRAY((PyArrayObject *)array)) {
            Py_DECREF(array);
            continue;
        }
        if (good && list == latest)
            rg_replace(&list, PyList_GetSlice(latest, 0, PyList_Size(latest)));
        if (good && list)
            array = as_it_lies(self, array);
        if (!good || !list || !array) {
            Py_XDECREF(array);
            Py_CLEAR(list);
            break;
        }
        if (PyList_SetItem(list, n, array)) { /* which takes the reference */
            Py_CLEAR(list);
            break;
        }
    }
    Py_DECREF(latest);
    return list;
}

/* An attribute that is an address, as a whole number. */
static int read_address(PyObject *object, PyObject *name, void **address)
{
    PyObject *number = PyObject_GetAttr(object, name);
    *address = number ? PyLong_AsVoidPtr(number) : NULL;
    Py_XDECREF(number);
    return PyErr_Occurred() ? -1 : 0;
}

/* Ask for the entry, now that `changes` holds this. */
static int renew_entry(fast_path *self, PyObject *now)
{
    PyObject *asked_at = new_reference(now);
    PyObject *made = PyObject_CallFunctionObjArgs(self->part[entry], self->part[current], NULL);
    void *function = NULL, *step = self->step, *addresses = self->addresses;
    if (made && made != self->part[current]) {
        if (made != Py_None && (read_address(made, names.function, &function) || read_address(made, names.step, &step) ||
                                read_address(made, names.addresses, &addresses)))
            Py_CLEAR(made);
        else
            self->function = (int64_t(*)(void *))function;
    }
    if (!made) {
        Py_DECREF(asked_at);
        return -1;
    }
    self->step = step;
    self->addresses = addresses;
    rg_replace(&self->part[current], made);
    rg_replace(&self->part[asked], asked_at);
    return 0;
}

/* A copy of an array in C order. */
static PyObject *copy_of(PyArrayObject *a)
{
    PyArray_Descr *type = PyArray_DESCR(a);
    Py_INCREF(type);
    PyObject *made =
        PyArray_NewFromDescr(&PyArray_Type, type, PyArray_NDIM(a), PyArray_DIMS(a), NULL, NULL, 0, NULL);
    if (made)
        memcpy(PyArray_DATA((PyArrayObject *)made), PyArray_DATA(a), (size_t)PyArray_NBYTES(a));
    return made;
}

/* A tensor of a copy of an array. */
static PyObject *tensor_of(const fast_path *self, PyObject *place)
{
    const row of_new = self->of[slots];
    PyObject *array = copy_of((PyArrayObject *)place), *version = PyList_New(1);
    PyObject *made = array && version ? PyType_GenericAlloc((PyTypeObject *)self->part[tensor], 0) : NULL;
    if (made) {
        int failed = PyList_SetItem(version, 0, new_reference(self->zero));
        failed |= self->set_slot(of_new.at[0], made, array);
        failed |= self->set_slot(of_new.at[2], made, version);
        for (Py_ssize_t n = 4; n < of_new.size; n += 2)
            failed |= self->set_slot(of_new.at[n], made, of_new.at[n + 1]);
        if (failed)
            Py_CLEAR(made);
    }
    Py_XDECREF(version);
    Py_XDECREF(array);
    return made;
}

/* Run the entry on these inputs, in this thread's turn. Returns 1; 0 where there is none; -1 with an exception. */
static int run_entry(fast_path *self, PyObject *list, PyObject **made)
{
    PyObject *now = PyList_GetItem(self->part[changes], 0);
    if (!now || (now != self->part[asked] && renew_entry(self, now)))
        return -1;
    if (self->part[current] == Py_None)
        return 0;
    PyObject *running = new_reference(self->part[current]); /* which another thread may replace meanwhile */
    for (Py_ssize_t n = 0, size = PyList_Size(list); n < size; n++)
        self->addresses[n] = PyArray_DATA((PyArrayObject *)PyList_GetItem(list, n));
    PyThreadState *thread = PyEval_SaveThread();
    int64_t failed = self->function(self->step);
    PyEval_RestoreThread(thread);
    if (failed) {
        PyObject *error = PyObject_CallMethod(running, "failure", "L", (long long)failed);
        if (error)
            PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_XDECREF(error);
    } else if (self->part[build] == Py_None)
        *made = tensor_of(self, self->of[places].at[0]);
    else
        *made = PyObject_CallFunctionObjArgs(self->part[build], self->part[places], NULL);
    Py_DECREF(running);
    return *made ? 1 : -1;
}

/* run_entry(), when it is this thread's turn. */
static int run_in_turn(fast_path *self, PyObject *list, PyObject **made)
{
    PyObject *taken = PyObject_CallNoArgs(self->part[take_turn]);
    if (!taken)
        return -1;
    Py_DECREF(taken);
    rg_this_thread.running = true;
    int ran = run_entry(self, list, made);
    rg_this_thread.running = false;
    PyObject *type = NULL, *value, *trace; /* what that raised */
    if (ran < 0)
        PyErr_Fetch(&type, &value, &trace);
    PyObject *given_back = PyObject_CallNoArgs(self->part[give_turn]);
    Py_XDECREF(given_back);
    if (ran < 0)
        PyErr_Restore(type, value, trace);
    if (!given_back) {
        Py_CLEAR(*made);
        ran = -1;
    }
    return ran;
}

/* As Plan.finish(). */
static int finish(fast_path *self)
{
    PyObject *place = PyIter_Next(self->part[counter]);
    if (!place)
        return -1;
    long long now = PyLong_AsLongLong(place);
    Py_DECREF(place);
    if (now != self->finished + 1) {
        PyObject *counted = PyObject_CallNoArgs(self->part[count_changes]);
        if (!counted)
            return -1;
        Py_DECREF(counted);
    }
    self->finished = now;
    const row pairs = self->of[shown];
    for (Py_ssize_t n = 0; n < pairs.size; n += 2)
        if (self->set_slot(self->gradient, pairs.at[n], pairs.at[n + 1]))
            return -1;
    return 0;
}

/* A call; the caller has a reference to self that lasts. */
static PyObject *run_call(fast_path *self, PyObject *arguments, Py_ssize_t keywords)
{
    if (!self->part[missed]) {
        PyErr_SetString(PyExc_RuntimeError, "FastPath: it has been collected");
        return NULL;
    }
    int good = !keywords && PyTuple_Size(arguments) == self->count && rg_this_thread.pauses == self->pauses &&
               !rg_this_thread.kernels && !rg_this_thread.running;
    if (good)
        good = is_valid(self);
    PyObject *list = good == 1 ? inputs_of(self, arguments) : NULL;
    if (!list)
        return PyErr_Occurred() ? NULL : new_reference(self->part[missed]);
    PyObject *made = NULL;
    int ran = run_in_turn(self, list, &made);
    if (ran == 0)
        made = PyObject_CallFunctionObjArgs(self->part[run], list, NULL);
    else if (ran == 1 && finish(self))
        Py_CLEAR(made);
    rg_replace(&self->part[inputs], list);
    return made;
}

static PyObject *fast_path_call(fast_path *self, PyObject *arguments, PyObject *keywords)
{
    Py_INCREF(self);
    PyObject *made = run_call(self, arguments, keywords ? PyDict_Size(keywords) : 0);
    Py_DECREF(self);
    return made;
}

static int fast_path_traverse(fast_path *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int n = 0; n < parts; n++)
        Py_VISIT(self->part[n]);
    return 0;
}

static int fast_path_clear(fast_path *self)
{
    for (int n = 0; n < tuples; n++) {
        PyMem_Free(self->of[n].at);
        self->of[n] = (row){0};
    }
    for (int n = 0; n < parts; n++)
        Py_CLEAR(self->part[n]);
    return 0;
}

static void fast_path_dealloc(fast_path *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    fast_path_clear(self);
    Py_CLEAR(self->gradient);
    Py_CLEAR(self->requires_grad);
    Py_CLEAR(self->contents);
    Py_CLEAR(self->zero);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static bool all_arrays(PyObject *sequence)
{
    bool all = true;
    for (Py_ssize_t n = 0, size = PySequence_Size(sequence); all && n < size; n++) {
        PyObject *item = PySequence_GetItem(sequence, n);
        all = item && PyArray_Check(item);
        Py_XDECREF(item);
    }
    return all;
}

static int check_inputs(const fast_path *self, PyObject *value)
{
    const Py_ssize_t size = self->of[forms].size;
    if (value && PyList_Check(value) && PyList_Size(value) == size && all_arrays(value))
        return 0;
    PyErr_Format(PyExc_TypeError, "FastPath: inputs are %R, expected a list of %zd arrays", value, size);
    return -1;
}

/* The objects of a tuple, of which there is a multiple of so many. */
static int list_row(row *to, PyObject *tuple, Py_ssize_t multiple)
{
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) % multiple) {
        PyErr_Format(PyExc_TypeError, "FastPath: %R is no tuple, or not of a multiple of %zd", tuple, multiple);
        return -1;
    }
    Py_ssize_t size = PyTuple_Size(tuple);
    PyObject **at = PyMem_Malloc((size_t)(size + 1) * sizeof *at);
    if (!at) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t n = 0; n < size; n++)
        at[n] = PyTuple_GetItem(tuple, n);
    *to = (row){size, at};
    return 0;
}

/* Make ready what the parts are for, which are there; what is trusted from then on is checked here. */
static int prepare(fast_path *self, PyObject *cell_contents)
{
    static const Py_ssize_t multiples[tuples] = {[items] = 3, [cells] = 2, [attributes] = 3, [gradients] = 2, [there] = 1, [asks] = 1,
                                                 [shown] = 2, [forms] = 1, [places] = 1, [slots] = 2};
    PyObject **of = self->part;
    for (int n = 0; n < tuples; n++)
        if (list_row(&self->of[n], of[n], multiples[n]))
            return -1;
    bool good = self->of[forms].size >= self->count && all_arrays(of[forms]);
    good = good && PyList_Check(of[revision]) && PyList_Check(of[changes]) && PyType_Check(of[tensor]) && self->of[slots].size >= 8 &&
           self->of[asks].size >= self->count;
    for (Py_ssize_t n = 0; n < self->of[items].size; n += 3)
        good = good && PyDict_Check(self->of[items].at[n]);
    if (of[build] == Py_None)
        good = good && self->of[places].size && all_arrays(of[places]);
    if (!good) {
        PyErr_SetString(PyExc_TypeError, "FastPath: an argument is not of its type");
        return -1;
    }
    self->zero = PyLong_FromLong(0);
    self->contents = new_reference(cell_contents);
    self->gradient = new_reference(self->of[slots].at[4]);
    self->requires_grad = new_reference(self->of[slots].at[6]);
    PyTypeObject *slot = Py_TYPE(self->gradient), *cell = Py_TYPE(cell_contents);
    self->get_slot = (descrgetfunc)PyType_GetSlot(slot, Py_tp_descr_get);
    self->set_slot = (descrsetfunc)PyType_GetSlot(slot, Py_tp_descr_set);
    self->get_cell = (descrgetfunc)PyType_GetSlot(cell, Py_tp_descr_get);
    return self->zero && self->get_slot && self->set_slot && self->get_cell ? check_inputs(self, of[inputs]) : -1;
}

static PyObject *fast_path_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static const char *const of[] = {
#define NAME(name) #name,
        TUPLES(NAME) OTHERS(NAME)
#undef NAME
    };
    fast_path *self = (fast_path *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    bool complete = keywords && PyTuple_Size(arguments) == 0;
    for (int n = 0; complete && n < given; n++) {
        self->part[n] = PyDict_GetItemString(keywords, of[n]);
        Py_XINCREF(self->part[n]);
        complete = self->part[n];
    }
    PyObject *number = complete ? PyDict_GetItemString(keywords, "count") : NULL;
    PyObject *records = complete ? PyDict_GetItemString(keywords, "recording") : NULL;
    PyObject *contents = complete ? PyDict_GetItemString(keywords, "cell_contents") : NULL;
    if (number && records && contents) {
        self->count = PyLong_AsSsize_t(number);
        self->pauses = PyObject_IsTrue(records) == 0;
        self->finished = -2;
        for (int n = given; n < parts; n++)
            self->part[n] = new_reference(Py_None);
        if (self->count >= 0 && !prepare(self, contents))
            return (PyObject *)self;
    }
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "FastPath: an argument is missing, or is no keyword");
    Py_DECREF(self);
    return NULL;
}

static PyObject *get_inputs(fast_path *self, void *unused)
{
    (void)unused;
    return new_reference(self->part[inputs]);
}

static int set_inputs(fast_path *self, PyObject *value, void *unused)
{
    (void)unused;
    if (check_inputs(self, value))
        return -1;
    rg_replace(&self->part[inputs], new_reference(value));
    return 0;
}

static PyGetSetDef fast_path_getset[] = {
    {"inputs", (getter)get_inputs, (setter)set_inputs, NULL, NULL},
    {0},
};
static PyType_Slot fast_path_slots[] = {
    {Py_tp_new, fast_path_new},
    {Py_tp_dealloc, fast_path_dealloc},
    {Py_tp_traverse, fast_path_traverse},
    {Py_tp_clear, fast_path_clear},
    {Py_tp_call, fast_path_call},
    {Py_tp_getset, fast_path_getset},
    {0, NULL},
};
static PyType_Spec fast_path_spec = {
    "retrograd._speedups.FastPath",
    sizeof(fast_path),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    fast_path_slots,
};

/* ---- Caller */

typedef struct {
    PyObject_HEAD
    PyObject *latest, *observers;
} caller;

static PyObject *caller_call(caller *self, PyObject *arguments, PyObject *keywords)
{
    PyObject *latest = self->latest;
    if (latest && Py_TYPE(latest) == fast_path_type && self->observers && PyObject_Size(self->observers) == 0) {
        Py_INCREF(latest);
        PyObject *made = fast_path_call((fast_path *)latest, arguments, keywords);
        bool is_missed = made && made == ((fast_path *)latest)->part[missed];
        Py_DECREF(latest);
        if (!is_missed)
            return made;
        Py_DECREF(made);
    }
    PyObject *method = PyObject_GetAttr((PyObject *)self, names.call_otherwise);
    PyObject *made = method ? PyObject_Call(method, arguments, keywords) : NULL;
    Py_XDECREF(method);
    return made;
}

static int caller_traverse(caller *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->latest);
    Py_VISIT(self->observers);
    return 0;
}

static int caller_clear(caller *self)
{
    Py_CLEAR(self->latest);
    Py_CLEAR(self->observers);
    return 0;
}

static void caller_dealloc(caller *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    caller_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef caller_members[] = {
    {"_latest_call", T_OBJECT, offsetof(caller, latest), 0, NULL},
    {"_observers", T_OBJECT, offsetof(caller, observers), 0, NULL},
    {0},
};
static PyType_Slot caller_slots[] = {
    {Py_tp_dealloc, caller_dealloc},
    {Py_tp_traverse, caller_traverse},
    {Py_tp_clear, caller_clear},
    {Py_tp_call, caller_call},
    {Py_tp_members, caller_members},
    {0, NULL},
};
static PyType_Spec caller_spec = {
    "retrograd._speedups.Caller",
    sizeof(caller),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    caller_slots,
};

static int intern(PyObject **name, const char *text)
{
    *name = PyUnicode_InternFromString(text);
    return *name ? 0 : -1;
}

int rg_add_fast_path(PyObject *module)
{
    import_array1(-1);
    if (intern(&names.array, "array") || intern(&names.function, "function") || intern(&names.step, "step") ||
        intern(&names.addresses, "addresses") || intern(&names.call_otherwise, "_call_otherwise"))
        return -1;
    fast_path_type = (PyTypeObject *)rg_add_type(module, &fast_path_spec, "FastPath"); /* as long as the process */
    PyObject *base = fast_path_type ? rg_add_type(module, &caller_spec, "Caller") : NULL;
    Py_XDECREF(base);
    return base ? 0 : -1;
}

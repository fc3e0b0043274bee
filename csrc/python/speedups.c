/* The module. */

#include "speedups.h"

PyObject *rg_add_type(PyObject *module, PyType_Spec *spec, const char *name)
{
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return NULL;
    Py_INCREF(type);
    if (PyModule_AddObject(module, name, type)) {
        Py_DECREF(type);
        Py_CLEAR(type);
    }
    return type;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_speedups", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__speedups(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && (rg_add_thread_state(module) || rg_add_fast_path(module)))
        Py_CLEAR(module);
    return module;
}

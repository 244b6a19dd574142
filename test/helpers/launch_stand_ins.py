"""Stand-ins for launch and launch_ros that record their arguments, and check types like the real classes."""

from __future__ import annotations


class Recorded:
    """Keeps how it was constructed, after the checks of types that the real class makes."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        self.check(*args, **kwargs)

    def check(self, *args, **kwargs):
        """Raise TypeError for arguments that the real class rejects."""


def check_texts(*values):
    for value in values:
        if not isinstance(value, (str, LaunchConfiguration)):
            raise TypeError(f"{value!r} is neither text nor a substitution")


class LaunchConfiguration(Recorded):
    def check(self, name):
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is no name of a launch argument")


class ParameterValue(Recorded):
    """``value_type`` converts substitutions only; any other value must have that type already."""

    def check(self, value, *, value_type):
        if isinstance(value, (str, int, float, bool)):
            if not isinstance(value, value_type):
                raise TypeError(f"value='{value}' is not an instance of {value_type}")
        elif not isinstance(value, LaunchConfiguration):
            raise TypeError(f"{value!r} is neither a value nor a substitution")

    def evaluated(self, configurations):
        value = self.args[0]
        return self.kwargs["value_type"](configurations[value.args[0]] if isinstance(value, Recorded) else value)


class DeclareLaunchArgument(Recorded):
    def check(self, name, *, default_value, description, choices=None):
        check_texts(name, description, *([] if default_value is None else [default_value]))
        if choices is not None and default_value is not None and default_value not in choices:
            raise RuntimeError(f'Provided default_value "{default_value}" is not in provided choices "{choices}"')


class IncludeLaunchDescription(Recorded):
    def check(self, source, *, launch_arguments):
        check_texts(*(text for pair in launch_arguments for text in pair))


class SetEnvironmentVariable(Recorded):
    def check(self, name, value):
        check_texts(name, value)


class ExecuteProcess(Recorded):
    def check(self, *, cmd, output, on_exit):
        check_texts(*cmd, output)


class Node(Recorded):
    def check(self, *, package, executable, name, namespace, parameters, remappings, output):
        check_texts(package, executable, name, namespace, output, *(text for pair in remappings for text in pair))
        for entry in parameters:
            if not isinstance(entry, (str, dict)):
                raise TypeError(f"{entry!r} is neither a parameter file nor a dictionary")
            for value in entry.values() if isinstance(entry, dict) else ():
                if not isinstance(value, (str, int, float, bool, ParameterValue)):
                    raise TypeError(f"unexpected type for parameter value {value!r}")


def plain(name):
    return type(name, (Recorded,), {})


MODULES = {
    "launch": [plain("LaunchDescription")],
    "launch.actions": [
        DeclareLaunchArgument,
        ExecuteProcess,
        IncludeLaunchDescription,
        plain("OpaqueFunction"),
        SetEnvironmentVariable,
        plain("Shutdown"),
    ],
    "launch.launch_description_sources": [plain("PythonLaunchDescriptionSource")],
    "launch.substitutions": [LaunchConfiguration],
    "launch_ros": [],
    "launch_ros.actions": [Node],
    "launch_ros.parameter_descriptions": [ParameterValue],
}

# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document that the program prints: lawful, and of the fields that clients of Cloud Hypervisor know. What the
answers really look like is test_guest_api_property's."""
import json
import os
import subprocess

import pytest
from jsonschema import Draft4Validator

from lib.virga import binary

# of Debian's openapi-specification
LAW = '/usr/share/openapi-specification/schemas/v3.0/schema.json'
KNOWN = os.path.join(os.path.dirname(__file__), 'golden', 'schemas')
REPLIES = ('VmmPingResponse', 'VmInfo', 'DeviceNode', 'PciDeviceInfo', 'Job', 'Jobs')

# endpoint: method, body, reply, and the codes that Cloud Hypervisor's document promises or its server gives
ENDPOINTS = {
    'vmm.ping': ('get', None, 'VmmPingResponse', {200}),
    'vmm.shutdown': ('put', None, None, {204}),
    'vm.info': ('get', None, 'VmInfo', {200, 404}),
    'vm.counters': ('get', None, 'VmCounters', {200}),
    'vm.create': ('put', 'VmConfig', None, {204}),
    'vm.delete': ('put', None, None, {204}),
    'vm.boot': ('put', None, None, {204, 404}),
    'vm.pause': ('put', None, None, {204, 404, 405}),
    'vm.resume': ('put', None, None, {204, 404, 405}),
    'vm.shutdown': ('put', None, None, {204, 404, 405}),
    'vm.reboot': ('put', None, None, {204, 404, 405}),
    'vm.power-button': ('put', None, None, {204, 404, 405}),
    'vm.nmi': ('put', None, None, {204}),
    'vm.coredump': ('put', 'VmCoredumpData', None, {204, 404, 405}),
    'vm.resize': ('put', 'VmResize', None, {204, 404, 429}),
    'vm.resize-disk': ('put', 'VmResizeDisk', None, {204, 404, 500}),
    'vm.resize-zone': ('put', 'VmResizeZone', None, {204, 404, 500}),
    'vm.add-device': ('put', 'DeviceConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409}),
    'vm.add-user-device': ('put', 'UserDeviceConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409}),
    'vm.add-disk': ('put', 'DiskConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-fs': ('put', 'FsConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-generic-vhost-user': ('put', 'GenericVhostUserConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-net': ('put', 'NetConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-pmem': ('put', 'PmemConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-vdpa': ('put', 'VdpaConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.add-vsock': ('put', 'VsockConfig', 'PciDeviceInfo', {200, 204, 400, 404, 409, 500}),
    'vm.remove-device': ('put', 'VmRemoveDevice', None, {204, 404}),
    'vm.snapshot': ('put', 'VmSnapshotConfig', None, {204, 404, 405}),
    'vm.restore': ('put', 'RestoreConfig', None, {204, 400, 404, 409}),
    'vm.send-migration': ('put', 'SendMigrationData', None, {204, 500}),
    'vm.receive-migration': ('put', 'ReceiveMigrationData', None, {204, 500}),
    # ours
    'vm.reclaim': ('put', None, None, {204, 404, 405}),
    'vm.change-disk': ('put', 'VmChangeDisk', None, {204, 404}),
    'vm.change-net': ('put', 'VmChangeNet', None, {204, 404}),
    'jobs': ('get', None, 'Jobs', {200}),
    'jobs/{id}': ('get', None, 'Job', {200, 404}),
    'jobs/{id}/cancel': ('put', None, None, {204, 404, 405}),
    'metrics': ('get', None, None, {200}),
    'events': ('get', None, None, {200}),
}


@pytest.fixture(scope='module', name='document')
def printed():
    run = subprocess.run([binary(), '--doc', 'openapi'], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def known():
    """schema: None of an object, else its type; schema: field: (type, default or None, must be said)"""
    types, fields = {}, {}
    with open(KNOWN, encoding='utf-8') as f:
        for line in f.read().splitlines():
            if line.startswith('#'):
                continue
            words = line.split()
            if not line.startswith('\t'):
                schema = words[0]
                types[schema] = words[1] if len(words) > 1 else None
                fields.setdefault(schema, {})
                continue
            default = json.loads(words[3]) if len(words) > 3 else None
            fields[schema][words[0]] = (words[1], default, words[-1] == 'required')
    return types, fields


def type_of(schema):
    if '$ref' in schema:
        return schema['$ref'].rsplit('/', 1)[1]
    if schema.get('type') == 'array':
        return f"[{type_of(schema['items'])}]"
    if 'enum' in schema:
        return '|'.join(sorted(schema['enum']))
    if isinstance(schema.get('additionalProperties'), dict):
        return '{' + type_of(schema['additionalProperties']) + '}'
    return schema.get('type', 'any')


def ordered(kind):
    return '|'.join(sorted(kind.split('|')))


def test_the_document_is_lawful(document):
    with open(LAW, encoding='utf-8') as f:
        law = json.load(f)
    assert [f'{list(e.absolute_path)}: {e.message}' for e in Draft4Validator(law).iter_errors(document)] == []
    names = [op['operationId'] for path in document['paths'].values() for op in path.values()]
    assert len(names) == len(set(names))
    text = json.dumps(document)
    for schema in document['components']['schemas']:
        assert f'#/components/schemas/{schema}"' in text, f'{schema} is used nowhere'


def test_there_is_every_schema_and_no_other(document):
    assert set(document['components']['schemas']) == set(known()[0])


@pytest.mark.parametrize('schema', known()[0])
def test_a_schema_has_the_fields_that_clients_know(document, schema):
    types, fields = known()
    ours = document['components']['schemas'][schema]
    if types[schema]:
        assert type_of(ours) == types[schema]
        return
    assert ours['type'] == 'object' and ours['additionalProperties'] is False
    assert set(ours['properties']) == set(fields[schema])
    for name, (kind, default, _) in fields[schema].items():
        field = ours['properties'][name]
        assert type_of(field) == ordered(kind), name
        if default is not None and '$ref' not in field:
            assert field.get('default') == default, name
    must = {name for name, (_, _, said) in fields[schema].items() if said}
    # an answer may promise more than clients know of, a request may not ask for more
    if schema in REPLIES:
        assert must <= set(ours.get('required', []))
    else:
        assert must == set(ours.get('required', []))


def test_there_is_every_endpoint_with_its_bodies_and_codes(document):
    assert set(document['paths']) == {f'/{path}' for path in ENDPOINTS}
    for path, (method, body, reply, codes) in ENDPOINTS.items():
        ops = document['paths'][f'/{path}']
        assert list(ops) == [method], path
        op = ops[method]
        assert ('requestBody' in op) == (body is not None), path
        if body:
            assert type_of(op['requestBody']['content']['application/json']['schema']) == body, path
        assert codes <= {int(code) for code in op['responses']}, path
        success = op['responses'].get('200', {}).get('content', {}).get('application/json', {}).get('schema')
        assert (type_of(success) if success and '$ref' in success else None) == reply, path
        for code, answer in op['responses'].items():
            if int(code) >= 400:
                assert type_of(answer['content']['application/json']['schema']) == 'Error', (path, code)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI document of the REST API, printed from the rows: paths from conf/routes.def, schemas
 * from the tables that these name. For conf/doc; any thread; no state. OpenAPI 3.0.3.
 */
#pragma once

#include <stdio.h>

void openapi_print(FILE *f);

//! Lines as they stand in public data of flights and weather.

use simbdp_api::pipeline::Format;

use crate::support::{Case, check, schema};

#[test]
fn weather_with_na_as_null() {
    let schema = schema(
        "
columns:
- {name: origin, type: text}
- {name: time_hour, type: timestamp}
- {name: temp, type: double, nullValues: [NA]}
- {name: wind_dir, type: int, nullValues: [NA]}
- {name: wind_gust, type: double, nullValues: [NA]}
primaryKey: {partition: [origin], clustering: [{column: time_hour}]}
",
    );
    let case = Case {
        name: "weather",
        input: b"origin,temp,wind_dir,wind_gust,time_hour\nEWR,39.02,270,NA,2013-01-01T06:00:00Z\nEWR,39.02,NA,20.71404,2013-01-01T07:00:00Z\nEWR,39.02,n/a,NA,2013-01-01T08:00:00Z\n",
        wanted: &[
            "1000: \"EWR\" \"2013-01-01T06:00:00Z\" 39.02 270 null",
            "1001: \"EWR\" \"2013-01-01T07:00:00Z\" 39.02 null 20.71404",
            "line 4 wind_dir: `n/a` is not an int…name it in nullValues | EWR,…",
        ],
    };
    check(Format::Csv, &schema, &case);
}

#[test]
fn airports_with_quoted_names() {
    let schema = schema(
        "
columns:
- {name: faa, type: text}
- {name: name, type: text}
- {name: altitude, type: int, from: alt}
primaryKey: {partition: [faa]}
",
    );
    let case = Case {
        name: "airports",
        input: b"faa,name,alt\n04G,Lansdowne Airport,1044\nAAF,\"Apalachicola, Regional\",20\n",
        wanted: &[
            "1000: \"04G\" \"Lansdowne Airport\" 1044",
            "1001: \"AAF\" \"Apalachicola, Regional\" 20",
        ],
    };
    check(Format::Csv, &schema, &case);
}
